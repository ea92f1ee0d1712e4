package knative

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// SetWorkers implements deploy.Platform: a Deployment for each type, named REVISION-TYPE. The node starts a worker that ended again; its
// pause grows to the node's own limit, which is five minutes where nobody set another.
func (p *Platform) SetWorkers(ctx context.Context, svc *servingv1.Service, types []string) error {
	if _, err := deploy.Complete(ctx, svc, p.namespace(svc.Name)); err != nil {
		return err
	}
	r, err := newRelease(svc.Spec.Template)
	if err != nil {
		return deploy.Invalid(svc.Name, err.Error())
	}
	defer p.lock(svc.Name)()
	ctx = p.calling(ctx)
	return explained(ctx, p.setWorkers(ctx, svc.Name, r, types), "set the workers of "+svc.Name)
}

func (p *Platform) setWorkers(ctx context.Context, service string, r *release, types []string) error {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	have, err := list[appsv1.Deployment](ctx, p.c, deployments, live.Namespace, ours(service)+","+procLabel)
	if err != nil {
		return err
	}
	for _, d := range have {
		if d.Labels[revLabel] != r.name || !slices.Contains(types, d.Labels[procLabel]) {
			if err := p.remove(ctx, deployments, d.Namespace, d.Name); err != nil {
				return err
			}
		}
	}
	if len(types) == 0 {
		return nil
	}
	if err := p.keep(ctx, live.Namespace, service, r, true); err != nil {
		return err
	}
	for _, process := range types {
		d, err := p.worker(live.Namespace, service, r, process)
		if err != nil {
			return deploy.Invalid(service, err.Error())
		}
		if _, _, err := p.c.Apply(ctx, deployments, d); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) worker(namespace, service string, r *release, process string) (*appsv1.Deployment, error) {
	spec, err := p.processSpec(service, r, process, r.name)
	if err != nil {
		return nil, err
	}
	labels := r.labels(service)
	labels[procLabel] = process
	return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: short(r.name+"-"+process, 63), Namespace: namespace, Labels: labels},
		Spec: appsv1.DeploymentSpec{Replicas: ptr.Int32(1), RevisionHistoryLimit: ptr.Int32(0), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, // never two of them
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec}}}, nil
}
