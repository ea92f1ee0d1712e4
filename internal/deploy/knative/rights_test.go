package knative

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	authv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// guarded is the API server of a cluster with everything installed, as far as Open asks it. Rights in denied are "verb resource" of any group and namespace.
type guarded struct {
	mu     sync.Mutex
	denied []string
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		var review authv1.SelfSubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		a := review.Spec.ResourceAttributes
		resource := a.Resource
		if a.Subresource != "" {
			resource += "/" + a.Subresource
		}
		g.mu.Lock()
		review.Status.Allowed = !slices.Contains(g.denied, a.Verb+" "+resource)
		g.mu.Unlock()
		review.APIVersion, review.Kind = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
		_ = json.NewEncoder(w).Encode(review)
	case strings.HasSuffix(r.URL.Path, "/selfsubjectreviews"):
		_, _ = io.WriteString(w, `{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "status": {"userInfo": {"username": "system:serviceaccount:gitd-system:gitd"}}}`)
	case r.URL.Path == "/apis/serving.knative.dev/v1":
		_, _ = io.WriteString(w, `{"kind": "APIResourceList", "resources": [{"name": "services"}, {"name": "revisions"}, {"name": "routes"}, {"name": "configurations"}]}`)
	case strings.HasSuffix(r.URL.Path, "/configmaps/config-network"):
		_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config-network"}, "data": {"ingress-class": "kourier.ingress.networking.knative.dev"}}`)
	case r.URL.Path == "/api/v1/namespaces/apps":
		_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}`)
	case r.URL.Path == "/version", strings.HasPrefix(r.URL.Path, "/apis/eventing"), strings.HasPrefix(r.URL.Path, "/apis/metrics"):
		_, _ = io.WriteString(w, `{}`)
	default:
		_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}`)
	}
}

func (g *guarded) deny(rights ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied = rights
}

// A gitd that is newer than the Roles of its installation starts, and says what does not work and how to get the rights; once they are there, it is quiet.
func TestRights(t *testing.T) {
	g := &guarded{}
	var log []string
	o := Options{Client: kubetest.Client(t, g), Namespace: "apps", Log: func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }}
	g.deny("get pods/attach", "create pods/attach", "get pods/proxy", "patch domainmappings", "create triggers")
	p, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	const who = "system:serviceaccount:gitd-system:gitd lacks the right to "
	const how = "; apply the Role in gitd's config/ folder, of this version: kubectl apply -k FOLDER, the kustomization that gitd was installed with"
	want := []string{
		noDomains + ": " + who + "patch domainmappings in the namespace apps" + how,
		noRuns + ": " + who + "create pods/attach, get pods/attach in the namespace apps" + how,
		noEvents + ": " + who + "create triggers in the namespace apps" + how,
		noFigures + ": " + who + "get pods/proxy in the namespace kourier-system; apply the Role in gitd's config/kourier/ folder: kubectl apply -k config/kourier",
	}
	if got, err := p.Warnings(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, line := range want {
		if !slices.Contains(log, "cluster: "+line) {
			t.Errorf("the log does not say: %s", line)
		}
	}
	g.deny()
	if got, err := p.Warnings(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}

	// What nothing works without is asked for at the start.
	g.deny("delete revisions", "watch jobs")
	_, err = Open(t.Context(), o)
	message, next := app.Explain(err)
	if app.CodeOf(err) != app.CodeUnavailable || !strings.HasSuffix(message, "2 rights are missing in all: delete revisions, watch jobs") || !strings.Contains(next, "kubectl apply -k") {
		t.Errorf("%s / %s", message, next)
	}
}

// config/ grants each right that gitd asks for, where the apps are.
func TestRights_Granted(t *testing.T) {
	for namespace, files := range map[string][]string{"apps": {"single-namespace/role.yaml", "kourier/role.yaml"}, "": {"app-namespaces/clusterrole.yaml", "kourier/role.yaml"}} {
		var rules []rbacv1.PolicyRule
		for _, file := range files {
			rules = append(rules, rulesOf(t, file)...)
		}
		p := &Platform{o: Options{Namespace: namespace, Events: "events"}, c: kubetest.Client(t, &guarded{}), ingress: kourierClass}
		for _, r := range append(p.rights(), p.further(t.Context())...) {
			for verb := range strings.FieldsSeq(r.verbs) {
				granted := slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
					return slices.Contains(rule.APIGroups, r.group) && slices.Contains(rule.Resources, r.resource) && slices.Contains(rule.Verbs, verb) && (len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.name))
				})
				if !granted {
					t.Errorf("%q: no file of %q grants %s %s of %q", namespace, files, verb, r.resource, r.group)
				}
			}
		}
	}
}

func rulesOf(t *testing.T, file string) (rules []rbacv1.PolicyRule) {
	t.Helper()
	f, err := os.Open(filepath.Join("../../../config", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var role rbacv1.Role
		if d.Decode(&role) != nil {
			return rules
		}
		rules = append(rules, role.Rules...)
	}
}
