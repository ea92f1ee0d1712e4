package knative

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// A Service without web does not exist for Knative, which would start an instance of it and ask it. It is kept in a Secret, since it has the app's
// configuration, and its workers belong to that. While a release takes the place of one with web, both are there.

// aloneLabel is on the Secret that keeps a Service without web.
const aloneLabel = "gitd.io/without-web"

// aloneName is the name of that Secret.
func aloneName(service string) string { return objectName(service+".service", 50) }

// applyAlone keeps a Service without web. With no traffic for another revision the Knative Service goes, and with it the app's address.
func (p *Platform) applyAlone(ctx context.Context, svc *servingv1.Service, r *release, traffic []servingv1.TrafficTarget) error {
	namespace := p.namespace(svc.Name)
	if p.o.Namespace == "" {
		if err := p.ensureNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	live, err := get[servingv1.Service](ctx, p.c, services, namespace, svc.Name)
	there := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if there && !p.isOurs(live) {
		return app.Errorf(app.CodeExists, "give the app another name, or remove that Service", "the Service %s exists already in the namespace %s, and gitd did not create it", svc.Name, namespace)
	}
	kept := svc.DeepCopy()
	kept.Namespace, kept.Status = namespace, servingv1.ServiceStatus{}
	kept.Spec.Template = r.original()
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := p.saveRelease(ctx, namespace, svc.Name, r); err != nil {
		return err
	}
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: aloneName(svc.Name), Namespace: namespace, Labels: p.labelled(map[string]string{appLabel: svc.Name, aloneLabel: "true"})},
		Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{"service": b}}
	if _, _, err := p.c.Apply(ctx, secrets, s); err != nil {
		return err
	}
	others := slices.ContainsFunc(traffic, func(t servingv1.TrafficTarget) bool { return t.RevisionName != r.name && ptr.Int64Value(t.Percent) > 0 })
	if !there || others {
		return nil
	}
	if err := p.remove(ctx, services, namespace, svc.Name); err != nil {
		return err
	}
	return p.waitGone(ctx, namespace, selector(serviceLabel, svc.Name), routes)
}

// alone reads a Service without web.
func (p *Platform) alone(ctx context.Context, service string) (*servingv1.Service, *corev1.Secret, error) {
	s, err := get[corev1.Secret](ctx, p.c, secrets, p.namespace(service), aloneName(service))
	if apierrors.IsNotFound(err) || err == nil && (s.Labels[aloneLabel] == "" || s.DeletionTimestamp != nil || p.ofAnotherGitd(s)) {
		return nil, nil, notFound("service", service)
	} else if err != nil {
		return nil, nil, err
	}
	svc, err := keptIn(s)
	return svc, s, err
}

func keptIn(s *corev1.Secret) (*servingv1.Service, error) {
	var svc servingv1.Service
	if err := json.Unmarshal(s.Data["service"], &svc); err != nil {
		return nil, fmt.Errorf("the Secret %s holds no Service: %w", s.Name, err)
	}
	return &svc, nil
}

// listAlone adds the Services without web that are not among these.
func (p *Platform) listAlone(ctx context.Context, found []*servingv1.Service) ([]*servingv1.Service, error) {
	all, err := list[corev1.Secret](ctx, p.c, secrets, p.o.Namespace, selector(managedBy, manager)+","+aloneLabel)
	if err != nil {
		return nil, err
	}
	for i := range all {
		s := &all[i]
		name := s.Labels[appLabel]
		known := slices.ContainsFunc(found, func(f *servingv1.Service) bool { return f.Name == name })
		if known || p.ofAnotherGitd(s) || s.DeletionTimestamp != nil || s.Namespace != p.namespace(name) {
			continue
		}
		svc, err := keptIn(s)
		if err != nil {
			return nil, err
		}
		found = append(found, svc)
	}
	return found, nil
}

// forgetAlone removes what keeps a Service without web; of that revision only, unless it is "".
func (p *Platform) forgetAlone(ctx context.Context, service, revision string) error {
	svc, s, err := p.alone(ctx, service)
	if err != nil || revision != "" && svc.Spec.Template.Name != revision {
		if isNotFound(err) {
			err = nil
		}
		return err
	}
	return p.remove(ctx, secrets, s.Namespace, s.Name)
}

// describeAlone is the one revision of a Service without web: it has no instance that takes requests.
func describeAlone(svc *servingv1.Service) []deploy.RevisionStatus {
	return []deploy.RevisionStatus{{Name: svc.Spec.Template.Name}}
}
