package knative

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event/keeper"
	"github.com/gitd-io/gitd/internal/kube"
)

// What the keeper consists of has this name: a Deployment of one Pod, a volume, a Service, a Secret with its token.
const keeperName = "gitd-events"

const (
	pullName   = keeperName + "-pull"
	voidName   = keeperName + "-void"
	keeperRoom = "1Gi" // of its volume
	sideAtOnce = 16    // requests of one instance of what is beside it: each has 64 MiB, and a request at most 2
)

func (p *Platform) ensureNamespace(ctx context.Context) error {
	if !p.o.Make {
		return nil
	}
	u, err := p.c.Resource(namespaces, "").Get(ctx, p.o.Namespace, metav1.GetOptions{})
	if err == nil {
		if kube.OfAnother(p.o.Instance, u.GetLabels()) {
			return app.Errorf(app.CodeExists, "if that gitd no longer exists: kubectl delete namespace "+p.o.Namespace, "the namespace %s belongs to another gitd", p.o.Namespace)
		}
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return explained(err, "read the namespace "+p.o.Namespace)
	}
	_, _, err = p.c.Apply(ctx, namespaces, p.object("v1", "Namespace", p.o.Namespace, map[string]any{"pod-security.kubernetes.io/enforce": "restricted"}, nil, nil))
	return explained(err, "make the namespace "+p.o.Namespace)
}

// ensureKeeper has the keeper run, and returns its token. What is as it should be is not touched.
func (p *Platform) ensureKeeper(ctx context.Context) (token string, err error) {
	defer p.locks.Lock("/keeper")()
	p.mu.Lock()
	token = p.token
	p.mu.Unlock()
	if token != "" {
		return token, nil
	}
	if err := p.ensureNamespace(ctx); err != nil {
		return "", err
	}
	if token, err = p.keeperToken(ctx, true); err != nil {
		return "", err
	}
	image, err := p.o.Image(ctx)
	if err != nil {
		return "", err
	}
	claim, err := p.get(ctx, claims, keeperName)
	if err != nil {
		return "", explained(err, "look for the volume of dead letters")
	}
	if claim == nil { // it cannot be changed once it is there
		if _, _, err := p.c.Apply(ctx, claims, p.claim()); err != nil {
			return "", explained(err, "make the volume of dead letters")
		}
	}
	pull, err := p.applyPull(ctx)
	if err != nil {
		return "", err
	}
	if _, _, err := p.c.Apply(ctx, services, p.service()); err != nil {
		return "", explained(err, "make the Service "+keeperName)
	}
	if _, _, err := p.c.Apply(ctx, deployments, p.deployment(image, pull)); err != nil {
		return "", explained(err, "make the Deployment "+keeperName)
	}
	if _, _, err := p.c.Apply(ctx, knativeServices, p.void(image, pull)); err != nil {
		return "", explained(err, "make the Knative Service "+voidName)
	}
	if err := p.waitKeeper(ctx); err != nil {
		return "", err
	}
	if err := p.waitReady(ctx, knativeServices, "Knative Service", voidName); err != nil {
		return "", explained(err, "wait for the Knative Service "+voidName)
	}
	p.mu.Lock()
	p.token = token
	p.mu.Unlock()
	return token, nil
}

// keeperToken reads the keeper's token. Where there is none, it makes one, or returns "".
func (p *Platform) keeperToken(ctx context.Context, create bool) (string, error) {
	there, err := p.get(ctx, secrets, keeperName)
	if err != nil {
		return "", explained(err, "read the Secret "+keeperName)
	}
	if there != nil {
		if kube.OfAnother(p.o.Instance, there.GetLabels()) {
			return "", app.Errorf(app.CodeExists, "give each gitd a namespace of its own: --namespace NAME", "the events in the namespace %s belong to another gitd", p.o.Namespace)
		}
		var secret corev1.Secret
		if err := kube.Into(there, &secret); err != nil {
			return "", err
		}
		return string(secret.Data["token"]), nil
	}
	if !create {
		return "", nil
	}
	token := rand.Text() + rand.Text()
	_, _, err = p.c.Apply(ctx, secrets, p.object("v1", "Secret", keeperName, map[string]any{}, nil, map[string]any{"stringData": map[string]any{"token": token}}))
	return token, explained(err, "make the Secret "+keeperName)
}

func (p *Platform) claim() *unstructured.Unstructured {
	spec := map[string]any{"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": keeperRoom}}}
	if p.o.StorageClass != "" {
		spec["storageClassName"] = p.o.StorageClass
	}
	return p.object("v1", "PersistentVolumeClaim", keeperName, map[string]any{}, nil, map[string]any{"spec": spec})
}

// applyPull writes the Secret with which nodes pull the keeper's image; it returns "" where none is needed.
func (p *Platform) applyPull(ctx context.Context) (string, error) {
	if p.o.PullConfig == nil {
		return "", nil
	}
	config, err := p.o.PullConfig()
	if err != nil || config == nil {
		return "", err
	}
	_, _, err = p.c.Apply(ctx, secrets, p.object("v1", "Secret", pullName, map[string]any{}, nil,
		map[string]any{"type": "kubernetes.io/dockerconfigjson", "stringData": map[string]any{".dockerconfigjson": string(config)}}))
	return pullName, explained(err, "write the Secret "+pullName)
}

func (p *Platform) service() *unstructured.Unstructured {
	return p.object("v1", "Service", keeperName, map[string]any{}, nil, map[string]any{"spec": map[string]any{
		"selector": map[string]any{"app.kubernetes.io/name": keeperName},
		"ports":    []any{map[string]any{"name": "http", "port": int64(80), "targetPort": "http", "protocol": "TCP"}},
	}})
}

// deployment is one Pod that nothing else may run beside: its volume has one owner.
func (p *Platform) deployment(image, pull string) *unstructured.Unstructured {
	pod := map[string]any{
		"enableServiceLinks":           false,
		"automountServiceAccountToken": false,
		"securityContext": map[string]any{"runAsNonRoot": true, "runAsUser": int64(65532), "runAsGroup": int64(65532), "fsGroup": int64(65532),
			"seccompProfile": map[string]any{"type": "RuntimeDefault"}},
		"containers": []any{map[string]any{
			"name": "keeper", "image": image,
			"env": []any{map[string]any{"name": "KEEPER_DIR", "value": "/data/letters"}, map[string]any{"name": "GOMEMLIMIT", "value": "200MiB"},
				map[string]any{"name": "KEEPER_TOKEN", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": keeperName, "key": "token"}}}},
			"ports":           []any{map[string]any{"name": "http", "containerPort": int64(8080), "protocol": "TCP"}},
			"readinessProbe":  map[string]any{"httpGet": map[string]any{"path": "/healthz", "port": "http"}, "periodSeconds": int64(2)},
			"resources":       map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "32Mi"}, "limits": map[string]any{"memory": "256Mi"}},
			"securityContext": map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}}},
			"volumeMounts":    []any{map[string]any{"name": "data", "mountPath": "/data"}},
		}},
		"volumes": []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": keeperName}}},
	}
	if pull != "" {
		pod["imagePullSecrets"] = []any{map[string]any{"name": pull}}
	}
	labels := map[string]any{"app.kubernetes.io/name": keeperName}
	return p.object("apps/v1", "Deployment", keeperName, map[string]any{"app.kubernetes.io/name": keeperName}, nil, map[string]any{"spec": map[string]any{
		"replicas": int64(1), "strategy": map[string]any{"type": "Recreate"}, "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": pod},
	}})
}

// void is a Knative Service that takes the events which the keeper should have seen while it does not run, and forgets them. Without it, a sender would be told that a
// broker cannot deliver its event. It is at zero until then.
func (p *Platform) void(image, pull string) *unstructured.Unstructured {
	return p.side(voidName, image, pull, map[string]any{"networking.knative.dev/visibility": "cluster-local"}, "KEEPER_VOID", "1")
}

// side is a Knative Service of the keeper's image, beside it. It has not the label by which the apps are found.
func (p *Platform) side(name, image, pull string, labels map[string]any, variable, value string) *unstructured.Unstructured {
	spec := map[string]any{
		"enableServiceLinks": false, "containerConcurrency": int64(sideAtOnce),
		"containers": []any{map[string]any{"name": "void", "image": image, "env": []any{map[string]any{"name": variable, "value": value}},
			"resources": map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "16Mi"}, "limits": map[string]any{"memory": "64Mi"}},
			"securityContext": map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "capabilities": map[string]any{"drop": []any{"ALL"}},
				"seccompProfile": map[string]any{"type": "RuntimeDefault"}}}},
	}
	if pull != "" {
		spec["imagePullSecrets"] = []any{map[string]any{"name": pull}}
	}
	labels["app.kubernetes.io/part-of"] = manager
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "serving.knative.dev/v1", "kind": "Service",
		"metadata": map[string]any{"name": name, "namespace": p.o.Namespace, "labels": labels},
		"spec":     map[string]any{"template": map[string]any{"spec": spec}}}}
}

// waitKeeper waits until the keeper answers.
func (p *Platform) waitKeeper(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keeperTime)
	defer cancel()
	for {
		err := p.c.REST.Get().AbsPath(p.keeperPath("/healthz")).MaxRetries(0).Do(ctx).Error()
		if err == nil {
			return nil
		}
		if apierrors.IsForbidden(err) {
			return explained(err, "reach the Service "+keeperName)
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return app.Errorf(app.CodeUnavailable, "look at it: kubectl -n "+p.o.Namespace+" describe pod -l app.kubernetes.io/name="+keeperName,
				"what keeps events (the Deployment %s) does not run after %s", keeperName, keeperTime)
		}
	}
}

// keeperPath is where the API server passes requests on to the keeper.
func (p *Platform) keeperPath(path string) string {
	return "/api/v1/namespaces/" + p.o.Namespace + "/services/" + keeperName + ":80/proxy" + path
}

// ask sends a request to the keeper and returns its answer. Where no keeper was ever made, the status is 0.
func (p *Platform) ask(ctx context.Context, method, path string, q url.Values, body any) (status int, answer []byte, err error) {
	p.mu.Lock()
	token := p.token
	p.mu.Unlock()
	if token == "" {
		if token, err = p.keeperToken(ctx, false); err != nil || token == "" {
			return 0, nil, err
		}
	}
	r := p.c.REST.Verb(method).AbsPath(p.keeperPath(path)).SetHeader(keeper.TokenHeader, token).MaxRetries(0)
	for name := range q {
		r = r.Param(name, q.Get(name))
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = r.Body(text).SetHeader("Content-Type", "application/json")
	}
	result := r.Do(ctx).StatusCode(&status)
	answer, err = result.Raw()
	if err != nil && status == 0 {
		return 0, nil, explained(err, "reach what keeps events")
	}
	return status, answer, nil
}

// lines reads an answer of a JSON value a line.
func lines[T any](status int, body []byte, err error) ([]T, error) {
	if err != nil || status == 0 {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, unanswered(status, body)
	}
	var out []T
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		var v T
		if err := d.Decode(&v); err == io.EOF {
			return out, nil
		} else if err != nil {
			return out, fmt.Errorf("the keeper of events answers: %w", err)
		}
		out = append(out, v)
	}
}

func unanswered(status int, body []byte) error {
	return app.Errorf(app.CodeUnavailable, "try again; if it stays so, look at the Deployment "+keeperName, "the keeper of events answers %d: %s", status, app.Line(string(body), 200))
}
