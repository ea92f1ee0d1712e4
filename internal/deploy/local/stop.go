package local

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Stop implements deploy.Platform.
func (p *Platform) Stop(ctx context.Context, name string) error {
	left, err := p.halt(name)
	if err != nil {
		return err
	}
	for _, gone := range left {
		select {
		case <-gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.ctx.Done():
			return nil
		}
	}
	return nil
}

// halt has everything of a Service end. The channels are closed when it has.
func (p *Platform) halt(name string) (left []<-chan struct{}, err error) {
	defer p.lock(name)()
	p.mu.RLock()
	old := p.services[name]
	p.mu.RUnlock()
	if old == nil {
		return nil, fmt.Errorf("service %s: %w", name, deploy.ErrNotFound)
	}
	if err := p.store.saveStopped(name, true); err != nil {
		return nil, fmt.Errorf("stop %s: %w", name, err)
	}
	if err := p.store.saveWorkers(name, workerSet{}); err != nil {
		return nil, fmt.Errorf("stop the workers of %s: %w", name, err)
	}
	for _, w := range p.workers(name) {
		w.cancel()
		left = append(left, w.gone)
	}
	p.mu.Lock()
	p.services[name] = &service{object: old.object, traffic: old.traffic, revisions: old.revisions, stopped: true, maintenance: old.maintenance}
	p.publish()
	p.mu.Unlock()
	p.proxy.Settle()
	for _, r := range old.revisions {
		r.mu.Lock()
		for _, in := range r.instances {
			left = append(left, in.gone)
		}
		if gone := r.drop(); gone != nil {
			left = append(left, gone)
		}
		r.mu.Unlock()
	}
	return left, nil
}

// RestartWorker implements deploy.Platform.
func (p *Platform) RestartWorker(_ context.Context, svc *servingv1.Service, asked deploy.Worker) error {
	defer p.lock(svc.Name)()
	r, err := p.find(svc.Name, svc.Spec.Template.Name)
	if err != nil {
		return err
	}
	set, err := p.store.workers(svc.Name)
	if err != nil {
		return err
	}
	set.Finished = slices.DeleteFunc(set.Finished, func(name string) bool {
		_, there := (&workerSet{Workers: []deploy.Worker{asked}}).places()[name]
		return there
	})
	if err := p.store.saveWorkers(svc.Name, set); err != nil {
		return err
	}
	var before []*worker
	for _, w := range p.workers(svc.Name) {
		if w.worker.Type == asked.Type {
			w.cancel()
			before = append(before, w)
		}
	}
	for name, at := range set.places() {
		if at.worker.Type == asked.Type && set.Revision == r.name {
			r.startWorker(at, filepath.Join(p.logDir(r.service, r.name), logName(time.Now(), name)), nil, before)
		}
	}
	return nil
}
