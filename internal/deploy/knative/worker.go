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

// SetWorkers implements deploy.Platform: a Deployment for each type, named SERVICE.TYPE, that never has two pods at once: the new one starts
// when the old one has ended. The node starts a worker that ended again; its pause grows to the node's own limit, which is five minutes unless
// configured otherwise.
func (p *Platform) SetWorkers(ctx context.Context, svc *servingv1.Service, types []string) error {
	if err := deploy.CheckProcesses(types...); err != nil {
		return err
	}
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
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
	there, err := p.revisions(ctx, live.Namespace, service)
	if err != nil {
		return err
	}
	if there[r.name] == nil {
		return notFound("revision", r.name)
	}
	have, err := list[appsv1.Deployment](ctx, p.c, deployments, live.Namespace, ours(service)+","+procLabel)
	if err != nil {
		return err
	}
	for _, d := range have {
		if !slices.Contains(types, d.Labels[procLabel]) {
			if err := p.remove(ctx, deployments, d.Namespace, d.Name); err != nil {
				return err
			}
		}
	}
	if len(types) == 0 {
		return nil
	}
	if err := p.saveRelease(ctx, live.Namespace, service, r); err != nil {
		return err
	}
	for _, process := range types {
		d, err := p.worker(live, r, process)
		if err != nil {
			return deploy.Invalid(service, err.Error())
		}
		if _, _, err := p.c.Apply(ctx, deployments, d); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) worker(live *servingv1.Service, r *release, process string) (*appsv1.Deployment, error) {
	spec, err := p.processSpec(live.Name, r, process, r.config())
	if err != nil {
		return nil, err
	}
	labels := r.labels(live.Name)
	labels[procLabel] = process
	own := map[string]string{managedBy: manager, appLabel: live.Name, procLabel: process}
	owner := metav1.OwnerReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: live.Name, UID: live.UID}
	return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: objectName(live.Name+"."+process, 50), Namespace: live.Namespace, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{owner}},
		Spec: appsv1.DeploymentSpec{Replicas: ptr.Int32(1), RevisionHistoryLimit: ptr.Int32(0), Selector: &metav1.LabelSelector{MatchLabels: own},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec}}}, nil
}
