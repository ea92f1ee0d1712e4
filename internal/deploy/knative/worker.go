package knative

import (
	"context"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// SetWorkers implements deploy.Platform: a Deployment for each instance, named SERVICE.TYPE and from the second on SERVICE.TYPE.N, so that each
// keeps its name. It never has two pods at once: the new one starts when the old one has ended. The node starts a worker that ended again; its
// pause grows to the node's own limit, which is five minutes unless configured otherwise.
func (p *Platform) SetWorkers(ctx context.Context, svc *servingv1.Service, workers []deploy.Worker) error {
	if err := deploy.CheckProcesses(deploy.WorkerTypes(workers)...); err != nil {
		return err
	}
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
	}
	defer p.lock(svc.Name)()
	ctx = p.calling(ctx)
	return explained(ctx, p.setWorkers(ctx, svc.Name, r, placesOf(workers)), "set the workers of "+svc.Name)
}

func (p *Platform) setWorkers(ctx context.Context, service string, r *release, places []place) (err error) {
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
		if !slices.ContainsFunc(places, func(at place) bool { return workerName(service, at) == d.Name }) {
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
	if len(places) == 0 {
		return nil
	}
	if err := p.saveRelease(ctx, live.Namespace, service, r); err != nil {
		return err
	}
	started := []place{}
	for _, at := range places {
		if slices.ContainsFunc(have, func(d appsv1.Deployment) bool {
			return d.Name == workerName(service, at) && d.Annotations[finishedNote] == r.name
		}) {
			continue
		}
		d, err := p.worker(live.Namespace, service, owner, r, at)
		if err != nil {
			return deploy.Invalid(service, err.Error())
		}
		if _, _, err := p.c.Apply(ctx, deployments, d); err != nil {
			return err
		}
		started = append(started, at)
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

// place is one of a worker's instances.
type place struct {
	worker deploy.Worker
	number int // from 1
}

func (at place) name() string { return deploy.InstanceName(at.worker.Type, at.number) }

func placesOf(workers []deploy.Worker) []place {
	var all []place
	for _, w := range workers {
		for n := range int(w.Instances) {
			all = append(all, place{w, n + 1})
		}
	}
	return all
}

// placeOf is the place of a worker's Deployment or pod, without its size.
func placeOf(labels map[string]string) place {
	n, err := strconv.Atoi(labels[numberLabel])
	if err != nil {
		n = 1
	}
	return place{deploy.Worker{Type: labels[procLabel]}, n}
}

func workerName(service string, at place) string {
	if at.number == 1 {
		return objectName(service+"."+at.worker.Type, 50)
	}
	return objectName(service+"."+at.name(), 50)
}

func (p *Platform) worker(namespace, service string, owner []metav1.OwnerReference, r *release, at place) (*appsv1.Deployment, error) {
	spec, err := p.processSpec(service, r, at.worker.Type, r.config())
	if err != nil {
		return nil, err
	}
	at.size(&spec.Containers[0])
	labels := r.labels(service)
	labels[procLabel] = at.worker.Type
	own := map[string]string{managedBy: manager, appLabel: service, procLabel: at.worker.Type}
	if at.number > 1 { // the first has the labels of an older gitd: a Deployment's selector cannot change
		labels[numberLabel], own[numberLabel] = strconv.Itoa(at.number), strconv.Itoa(at.number)
	}
	return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: workerName(service, at), Namespace: namespace, Labels: labels,
			OwnerReferences: owner},
		Spec: appsv1.DeploymentSpec{Replicas: ptr.Int32(1), RevisionHistoryLimit: ptr.Int32(0), Selector: &metav1.LabelSelector{MatchLabels: own},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec}}}, nil
}

// size gives a container the limits of the worker.
func (at place) size(c *corev1.Container) {
	c.Resources = *c.Resources.DeepCopy()
	set := func(name corev1.ResourceName, q resource.Quantity) {
		if q.IsZero() {
			return
		}
		if c.Resources.Limits == nil {
			c.Resources.Limits = corev1.ResourceList{}
		}
		c.Resources.Limits[name] = q
	}
	set(corev1.ResourceMemory, at.worker.Memory)
	set(corev1.ResourceEphemeralStorage, at.worker.Memory)
	set(corev1.ResourceCPU, at.worker.CPU)
}
