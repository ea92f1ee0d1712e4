package knative

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube"
)

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
	if err := p.findIngress(ctx); err != nil {
		return err
	}
	return p.tellLacking(ctx)
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
