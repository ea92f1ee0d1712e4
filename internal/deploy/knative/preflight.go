package knative

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	authv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube"
)

// right is what gitd has to be allowed to do.
type right struct {
	group, resource string
	verbs           string
	cluster         bool // not in a namespace
}

// rights are all that the platform uses. config/ grants the same.
func (p *Platform) rights() []right {
	all := []right{
		{services.Group, "services", "get list watch create patch delete", false},
		{revisions.Group, "revisions", "get list watch delete", false},
		{routes.Group, "routes", "list", false},
		{domainMappings.Group, "domainmappings", "list create patch delete", false},
		{autoscalers.Group, "podautoscalers", "list", false},
		{ingresses.Group, "ingresses", "list", false},
		{serverless.Group, "serverlessservices", "list", false},
		{"", "pods", "get list watch", false},
		{"", "pods/log", "get", false},
		{"", "pods/attach", "get create", false},
		{"", "secrets", "get list create patch delete", false},
		{"", "events", "list", false},
		{deployments.Group, "deployments", "list create patch delete", false},
		{jobs.Group, "jobs", "get list watch create patch delete", false},
	}
	if p.o.Namespace == "" {
		all = append(all, right{"", "namespaces", "get create patch delete", true}, right{domainClaims.Group, "clusterdomainclaims", "get list create patch delete", true})
	}
	return all
}

const preflightTime = 10 * time.Second // for an API server that does not answer

func (p *Platform) preflight(ctx context.Context) error {
	ctx = kube.WithRetryTime(ctx, preflightTime)
	if err := p.c.REST.Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return kube.Explain(err, "reach the cluster")
	}
	if err := p.installed(ctx); err != nil {
		return err
	}
	if err := p.allowed(ctx); err != nil {
		return err
	}
	if p.o.Namespace != "" {
		if err := p.ensureNamespace(ctx, p.o.Namespace); err != nil {
			return err
		}
	}
	return p.findIngress(ctx)
}

// installed asks for Knative's API.
func (p *Platform) installed(ctx context.Context) error {
	body, err := p.c.REST.Get().AbsPath("/apis/serving.knative.dev/v1").DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return app.Errorf(app.CodeUnavailable, "install Knative Serving and an ingress for it: https://knative.dev/docs/install/",
			"Knative Serving is not installed on the cluster at %s: it has no serving.knative.dev/v1", p.c.Config.Host)
	}
	if err != nil {
		return kube.Explain(err, "ask for Knative Serving")
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("resources of serving.knative.dev/v1: %w", err)
	}
	missing := map[string]bool{"services": true, "revisions": true, "routes": true, "configurations": true}
	for _, r := range list.APIResources {
		delete(missing, r.Name)
	}
	for name := range missing {
		return app.Errorf(app.CodeUnavailable, "install Knative Serving again", "Knative Serving is installed in part only: it has no %s", name)
	}
	return nil
}

// allowed checks every right at once, and reports the missing ones.
func (p *Platform) allowed(ctx context.Context) error {
	var asked sync.WaitGroup
	var mu sync.Mutex
	var lacking []string
	var first *app.Error
	var failed error
	slots := make(chan struct{}, 8)
	for _, r := range p.rights() {
		for verb := range strings.FieldsSeq(r.verbs) {
			asked.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				err := p.may(ctx, r, verb)
				mu.Lock()
				defer mu.Unlock()
				var no *app.Error
				if errors.As(err, &no) {
					lacking = append(lacking, verb+" "+r.resource)
					if first == nil {
						first = no
					}
				} else if err != nil {
					failed = err
				}
			})
		}
	}
	asked.Wait()
	switch {
	case failed != nil:
		return kube.Explain(failed, "ask what gitd may do on the cluster")
	case len(lacking) > 1:
		first.Message += fmt.Sprintf("; %d rights are missing in all: %s", len(lacking), strings.Join(sorted(lacking), ", "))
		first.Next = "apply the Role in gitd's config/ folder, which has all that it needs"
	}
	if first != nil {
		return first
	}
	return nil
}

// may asks for one right.
func (p *Platform) may(ctx context.Context, r right, verb string) error {
	namespace := p.o.Namespace
	if r.cluster {
		namespace = ""
	}
	resource, sub, _ := strings.Cut(r.resource, "/")
	review := &authv1.SelfSubjectAccessReview{TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec: authv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: r.group, Resource: resource, Subresource: sub}}}
	u, err := kube.Unstructured(review)
	if err != nil {
		return err
	}
	out, err := p.c.Dynamic.Resource(accessReviews).Create(ctx, u, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := kube.Into(out, review); err != nil {
		return err
	}
	if review.Status.Allowed {
		return nil
	}
	why, next := kube.MissingRight(p.c.User(ctx), verb, r.resource, r.group, namespace)
	return app.Errorf(app.CodeUnavailable, next, "%s", why)
}

// findIngress notes the class of the ingress that Knative uses, as far as gitd may know it.
func (p *Platform) findIngress(ctx context.Context) error {
	u, err := p.c.Resource(configMaps, "knative-serving").Get(ctx, "config-network", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil // it is somewhere else, or gitd may not read it
	case err != nil:
		return kube.Explain(err, "read Knative's network configuration")
	}
	var c corev1.ConfigMap
	if err := kube.Into(u, &c); err != nil {
		return err
	}
	for _, key := range []string{"ingress-class", "ingress.class"} {
		if p.ingress == "" {
			p.ingress = c.Data[key]
		}
	}
	if p.ingress == "" {
		p.ingress = "istio.ingress.networking.knative.dev" // Knative's default
		p.o.Log("deploy: config-network in knative-serving names no ingress-class: Knative takes %s", p.ingress)
	}
	return nil
}
