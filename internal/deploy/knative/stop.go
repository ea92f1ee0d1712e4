package knative

import (
	"context"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// notJobs leaves the pods of RunProcess out of a selector.
const notJobs = ",!batch.kubernetes.io/job-name"

// Stop implements deploy.Platform: the Knative Service goes, with its revisions and workers, and its address with it. The ledger has all that it takes
// to apply it again.
func (p *Platform) Stop(ctx context.Context, service string) error {
	defer p.lock(service)()
	ctx = p.calling(ctx)
	return explained(ctx, p.stopService(ctx, service), "stop "+service)
}

func (p *Platform) stopService(ctx context.Context, service string) error {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	namespace := p.namespace(service)
	if deploy.WithoutWeb(&live.Spec.Template) {
		err = p.forgetAlone(ctx, service, "")
	} else {
		err = p.remove(ctx, services, namespace, service)
	}
	if err != nil {
		return err
	}
	if err := p.removeAll(ctx, deployments, namespace, ours(service)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	if err := p.waitGone(ctx, namespace, selector(serviceLabel, service), routes, revisions, deployments, autoscalers, serverless, pods); err != nil {
		return err
	}
	return p.waitGone(ctx, namespace, ours(service)+","+procLabel+notJobs, pods)
}

// RestartWorker implements deploy.Platform. The new pods start when the old ones have ended.
func (p *Platform) RestartWorker(ctx context.Context, svc *servingv1.Service, worker deploy.Worker) error {
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
	}
	defer p.lock(svc.Name)()
	ctx = p.calling(ctx)
	return explained(ctx, p.restartWorker(ctx, svc.Name, r, worker), "restart the worker "+worker.Type+" of "+svc.Name)
}

func (p *Platform) restartWorker(ctx context.Context, service string, r *release, worker deploy.Worker) error {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	owner, err := p.ownerOfWorkers(ctx, live, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	all := placesOf([]deploy.Worker{worker})
	for _, replicas := range []*int32{ptr.Int32(0), ptr.Int32(1)} {
		for _, at := range all {
			d, err := p.worker(live.Namespace, service, owner, r, at)
			if err != nil {
				return deploy.Invalid(service, err.Error())
			}
			d.Spec.Replicas = replicas
			if _, _, err := p.c.Apply(ctx, deployments, d); err != nil {
				return err
			}
		}
		if *replicas == 0 {
			if err := p.waitGone(ctx, live.Namespace, ours(service)+","+selector(procLabel, worker.Type)+notJobs, pods); err != nil {
				return err
			}
		}
	}
	p.watchFinished(service, r, all)
	return nil
}
