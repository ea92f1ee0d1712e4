package knative

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// objects are what a cluster has, by their path in its API. Nothing changes by itself.
type objects map[string]string

// ServeHTTP gives, lists and deletes. Selectors are label=value, all of them.
func (o objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	body, there := o[r.URL.Path]
	switch {
	case r.URL.Query().Has("watch"):
		<-r.Context().Done()
	case there && r.Method == http.MethodDelete:
		delete(o, r.URL.Path)
		fallthrough
	case there:
		_, _ = io.WriteString(w, body)
	case r.URL.Query().Has("labelSelector"):
		var items []string
		for _, path := range slices.Sorted(maps.Keys(o)) {
			if strings.HasPrefix(path, r.URL.Path+"/") && selects(r.URL.Query().Get("labelSelector"), o[path]) {
				items = append(items, o[path])
			}
		}
		fmt.Fprintf(w, `{"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [%s]}`, strings.Join(items, ", "))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}`)
	}
}

func selects(selector, object string) bool {
	for part := range strings.SplitSeq(selector, ",") {
		key, value, _ := strings.Cut(part, "=")
		if !strings.Contains(object, fmt.Sprintf("%q: %q", key, value)) {
			return false
		}
	}
	return true
}

func (o objects) add(apiVersion, kind, path, labels, rest string) {
	dir, name := filepath.Split(path)
	namespace := ""
	if _, after, ok := strings.Cut(dir, "/namespaces/"); ok {
		namespace, _, _ = strings.Cut(after, "/")
	}
	o[path] = fmt.Sprintf(`{"apiVersion": %q, "kind": %q, "metadata": {"name": %q, "namespace": %q, "labels": {%s}}%s}`, apiVersion, kind, name, namespace, labels, rest)
}

// on is a platform on that cluster.
func (o objects) on(t *testing.T) *Platform {
	t.Helper()
	c := kubetest.Client(t, o)
	return &Platform{o: Options{Client: c, NamespacePrefix: "app-", Log: func(string, ...any) {}}, c: c}
}

// What is left of a Service that is gone goes, and of one that gitd did not make only what is gitd's.
func TestDelete_Again(t *testing.T) {
	const mine = `"app.kubernetes.io/managed-by": "gitd"`
	const core, ksvc = "/api/v1/namespaces/app-app", "/apis/serving.knative.dev/v1/namespaces/app-app/services/app"
	for name, want := range map[string][]string{"Gone": {core + "/secrets/gitd-pull", core + "/secrets/other"}, // both go with the namespace
		"Foreign": {core, core + "/secrets/other", ksvc}} {
		t.Run(name, func(t *testing.T) {
			o := objects{}
			o.add("v1", "Namespace", core, mine, "")
			o.add("v1", "Secret", core+"/secrets/app-v1-0", mine+`, "gitd.io/app": "app"`, "")
			o.add("v1", "Secret", core+"/secrets/gitd-pull", mine, "")
			o.add("v1", "Secret", core+"/secrets/other", "", "")
			o.add("apps/v1", "Deployment", "/apis/apps/v1/namespaces/app-app/deployments/worker", mine+`, "gitd.io/app": "app"`, "")
			o.add("batch/v1", "Job", "/apis/batch/v1/namespaces/app-app/jobs/release", mine+`, "gitd.io/app": "app"`, "")
			if name == "Foreign" {
				o.add("serving.knative.dev/v1", "Service", ksvc, "", "")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := o.on(t).Delete(ctx, "app"); !errors.Is(err, deploy.ErrNotFound) {
				t.Fatal(err)
			}
			if left := slices.Sorted(maps.Keys(o)); !slices.Equal(left, want) {
				t.Errorf("left: %q, want %q", left, want)
			}
		})
	}
}

// A Job that has ended without a pod ends the wait.
func TestFollow_NoPod(t *testing.T) {
	for kind, want := range map[string]string{
		"Failed": "the app could not be started: its pod is gone, and how it ended is not known: Job has reached the specified backoff limit", "Complete": ""} {
		o := objects{}
		o.add("batch/v1", "Job", "/apis/batch/v1/namespaces/app-app/jobs/release", "", fmt.Sprintf(
			`, "status": {"conditions": [{"type": %q, "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}]}`, kind))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		r := &release{name: "app-v1", template: servingv1.RevisionTemplateSpec{Spec: servingv1.RevisionSpec{PodSpec: corev1.PodSpec{Containers: []corev1.Container{{}}}}}}
		_, err := o.on(t).follow(ctx, "app-app", "release", r, o.on(t).logTo(io.Discard))
		cancel()
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
