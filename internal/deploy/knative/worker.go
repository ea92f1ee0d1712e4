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

func (p *Platform) setWorkers(ctx context.Context, service string, r *release, types []string) (err error) {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	owner, err := p.ownerOfWorkers(ctx, live, r)
	if err != nil {
		return err
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
	if !deploy.WithoutWeb(&r.template) { // it has taken the place of one that had workers alone
		defer func() {
			if err == nil {
				err = p.forgetAlone(ctx, service, "")
			}
		}()
	}
	if len(types) == 0 {
		return nil
	}
	if err := p.saveRelease(ctx, live.Namespace, service, r); err != nil {
		return err
	}
	started := []string{}
	for _, process := range types {
		if slices.ContainsFunc(have, func(d appsv1.Deployment) bool {
			return d.Labels[procLabel] == process && d.Annotations[finishedNote] == r.name
		}) {
			continue
		}
		d, err := p.worker(live.Namespace, service, owner, r, process)
		if err != nil {
			return deploy.Invalid(service, err.Error())
		}
		if _, _, err := p.c.Apply(ctx, deployments, d); err != nil {
			return err
		}
		started = append(started, process)
	}
	p.watchFinished(service, r, started)
	return nil
}

// ownerOfWorkers is what the workers of a release go with: the Knative Service, or what keeps a Service without web.
func (p *Platform) ownerOfWorkers(ctx context.Context, live *servingv1.Service, r *release) ([]metav1.OwnerReference, error) {
	if deploy.WithoutWeb(&r.template) {
		kept, s, err := p.alone(ctx, live.Name)
		if err != nil {
			return nil, err
		}
		if kept.Spec.Template.Name != r.name {
			return nil, notFound("revision", r.name)
		}
		return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: s.Name, UID: s.UID}}, nil
	}
	there, err := p.revisions(ctx, live.Namespace, live.Name)
	if err == nil && there[r.name] == nil {
		err = notFound("revision", r.name)
	}
	return []metav1.OwnerReference{{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: live.Name, UID: live.UID}}, err
}

func workerName(service, process string) string { return objectName(service+"."+process, 50) }

func (p *Platform) worker(namespace, service string, owner []metav1.OwnerReference, r *release, process string) (*appsv1.Deployment, error) {
	spec, err := p.processSpec(service, r, process, r.config())
	if err != nil {
		return nil, err
	}
	labels := r.labels(service)
	labels[procLabel] = process
	own := map[string]string{managedBy: manager, appLabel: service, procLabel: process}
	return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: workerName(service, process), Namespace: namespace, Labels: labels,
			OwnerReferences: owner},
		Spec: appsv1.DeploymentSpec{Replicas: ptr.Int32(1), RevisionHistoryLimit: ptr.Int32(0), Selector: &metav1.LabelSelector{MatchLabels: own},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec}}}, nil
}
