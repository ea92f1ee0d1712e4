package knative

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// A domain of an app is a DomainMapping in the app's namespace. Knative maps a domain for one namespace only, which a ClusterDomainClaim names: gitd makes that
// too, where it may; else Knative itself does (autocreate-cluster-domain-claims), or the cluster's operator.
var (
	domainMappings = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1beta1", Resource: "domainmappings"}
	domainClaims   = schema.GroupVersionResource{Group: "networking.internal.knative.dev", Version: "v1alpha1", Resource: "clusterdomainclaims"}
)

// domainLabel is on the Secret with the certificate of a domain.
const domainLabel = "gitd.io/domain"

// domainNote is on the mapping of a domain, and on what proves it.
const domainNote = "gitd.io/domain"

// SetDomains implements deploy.Platform.
func (p *Platform) SetDomains(ctx context.Context, service string, domains []deploy.Domain) error {
	for _, d := range domains {
		if strings.HasPrefix(d.Name, "*.") {
			return app.Errorf(app.CodeInvalidInput, "add each name by itself", "%s cannot be served: a cluster has no domains with *", d.Name)
		}
	}
	ctx = p.calling(ctx)
	namespace := p.namespace(service)
	if len(domains) > 0 {
		if err := p.ensureNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	if err := p.removeDomains(ctx, namespace, service, domains); err != nil {
		return explained(ctx, err, "remove the domains of "+service)
	}
	for _, d := range domains {
		if err := p.mapDomain(ctx, namespace, service, d); err != nil {
			return explained(ctx, err, "map the domain "+d.Name)
		}
	}
	return explained(ctx, p.removeProofs(ctx, namespace, service, domains), "remove proofs of domains")
}

// removeDomains removes what is there and not among domains.
func (p *Platform) removeDomains(ctx context.Context, namespace, service string, domains []deploy.Domain) error {
	wanted := func(name string) bool {
		return slices.ContainsFunc(domains, func(d deploy.Domain) bool {
			return d.Name == name || len(d.Chain) > 0 && certificateName(d.Name) == name
		})
	}
	for _, kind := range []struct {
		gvr       schema.GroupVersionResource
		namespace string
		selector  string
	}{{domainMappings, namespace, ours(service)}, {domainClaims, "", ours(service)}, {secrets, namespace, ours(service) + "," + domainLabel}} {
		l, err := p.c.Resource(kind.gvr, kind.namespace).List(ctx, metav1.ListOptions{LabelSelector: kind.selector})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && (len(domains) == 0 || kind.namespace == "") { // nothing of it can be ours
			continue
		} else if err != nil {
			return err
		}
		for _, u := range l.Items {
			if wanted(u.GetName()) || p.ofAnotherGitd(&u) {
				continue
			}
			if err := p.remove(ctx, kind.gvr, kind.namespace, u.GetName()); err != nil {
				return err
			}
			if kind.gvr == domainMappings {
				p.proving(u.GetName(), "")
			}
		}
	}
	return nil
}

// mapDomain applies a domain's claim, certificate and mapping.
func (p *Platform) mapDomain(ctx context.Context, namespace, service string, d deploy.Domain) error {
	claim := p.domainObject(domainClaims, "ClusterDomainClaim", "", d.Name, service, map[string]any{"namespace": namespace})
	have, err := p.c.Resource(domainClaims, "").Get(ctx, d.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
	case err != nil && !apierrors.IsNotFound(err):
		return err
	case err == nil && (have.GetLabels()[managedBy] != manager || p.ofAnotherGitd(have)):
		if of, _, _ := unstructured.NestedString(have.Object, "spec", "namespace"); of != namespace {
			return app.Errorf(app.CodeExists, "remove it there first: kubectl get domainmapping -A", "the domain %s is mapped already, in the namespace %s", d.Name, of)
		}
	default:
		if _, _, err := p.c.Apply(ctx, domainClaims, claim); err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	defer p.locks.Lock("domain " + d.Name)()
	spec := map[string]any{"ref": p.leadsTo(namespace, service, d.Name)}
	if len(d.Chain) > 0 {
		secret := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Type: corev1.SecretTypeTLS,
			ObjectMeta: metav1.ObjectMeta{Name: certificateName(d.Name), Namespace: namespace, Labels: p.labelled(map[string]string{appLabel: service, domainLabel: "certificate"})},
			Data:       map[string][]byte{corev1.TLSCertKey: d.Chain, corev1.TLSPrivateKeyKey: d.Key}}
		if _, _, err := p.c.Apply(ctx, secrets, secret); err != nil {
			return err
		}
		spec["tls"] = map[string]any{"secretName": secret.Name}
	}
	mapping := p.domainObject(domainMappings, "DomainMapping", namespace, d.Name, service, spec)
	mapping.SetAnnotations(p.domainNotes(d.Name, len(d.Chain) > 0, p.proves(d.Name) != ""))
	if _, _, err = p.c.Apply(ctx, domainMappings, mapping); err != nil {
		return err
	}
	return p.mapped(ctx, namespace, d.Name)
}

// domainNotes are the annotations of a mapping: what Knative is to do about HTTPS. While a domain is proven, requests over HTTP are answered.
func (p *Platform) domainNotes(d string, secret, proven bool) map[string]string {
	notes := map[string]string{domainNote: d} // an applied map that becomes empty would go with what Knative has put into it
	if p.o.Certificates || secret {
		notes["networking.knative.dev/disable-external-domain-tls"] = "true"
		notes["networking.knative.dev/http-protocol"] = "Enabled"
	}
	if secret && p.o.Redirect && !proven {
		notes["networking.knative.dev/http-protocol"] = "Redirected"
	}
	return notes
}

// mapping reads the mapping of a domain; nil where there is none.
func (p *Platform) mapping(ctx context.Context, namespace, domain string) (*unstructured.Unstructured, error) {
	l, err := p.c.Resource(domainMappings, namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + domain})
	if err != nil || len(l.Items) == 0 {
		return nil, err
	}
	return &l.Items[0], nil
}

// mapped waits until the ingress goes by the mapping of a domain, for a moment: while the app has no release it does not. It fails where Knative refuses the
// mapping for want of a claim.
func (p *Platform) mapped(ctx context.Context, namespace, domain string) error {
	for end := time.Now().Add(mappedTime); ; {
		u, err := p.mapping(ctx, namespace, domain)
		if err != nil || u == nil {
			return err
		}
		done := kube.Observed(u)
		switch {
		case done && kube.Is(u, "DomainClaimed", "False"):
			return app.Errorf(app.CodeUnavailable, fmt.Sprintf("let Knative make the claims: kubectl -n knative-serving patch configmap config-network -p '{\"data\":{\"autocreate-cluster-domain-claims\":\"true\"}}'; or make this one: a ClusterDomainClaim %s with spec.namespace %s", domain, namespace),
				"Knative does not map %s: the namespace %s has no claim to it", domain, namespace)
		case done && (kube.Is(u, "Ready", "True") || kube.Is(u, "ReferenceResolved", "False")):
			return nil
		case time.Now().After(end):
			p.tell(ctx, "the ingress does not lead %s to its app yet: kubectl -n %s describe domainmapping %[1]s says why", domain, namespace)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// mappedTime is how long a change of a domain waits for the ingress.
const mappedTime = 15 * time.Second

// domainObject is an object that is named like a domain.
func (p *Platform) domainObject(gvr schema.GroupVersionResource, kind, namespace, name, service string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(gvr.GroupVersion().WithKind(kind))
	u.SetNamespace(namespace)
	u.SetName(name)
	u.SetLabels(p.labelled(map[string]string{appLabel: service}))
	return u
}

// certificateName is the name of the Secret with the certificate of a domain.
func certificateName(domain string) string {
	sum := sha256.Sum256([]byte(domain))
	return "domain-" + hex.EncodeToString(sum[:10])
}
