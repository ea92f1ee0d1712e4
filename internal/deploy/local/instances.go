package local

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// measureFor is the time over which Instances measures what instances use of the processor.
const measureFor = 200 * time.Millisecond

// running is an instance with what it takes to measure it.
type running struct {
	deploy.Instance
	container *sandbox.Container // nil while it does not run
	limit     int64
}

// Instances implements deploy.Platform.
func (p *Platform) Instances(ctx context.Context, service string, measure bool) ([]deploy.Instance, error) {
	p.mu.RLock()
	s, err := p.service(service)
	p.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	c, err := p.store.workers(service)
	if err != nil {
		return nil, err
	}
	var all []running
	for _, r := range s.revisions {
		all = append(all, r.webInstances()...)
	}
	for _, name := range c.Finished {
		t := name
		if i := strings.LastIndexByte(name, '.'); i > 0 && strings.Trim(name[i+1:], "0123456789") == "" {
			t = name[:i]
		} else { // of an older gitd
			name = deploy.InstanceName(name, 1)
		}
		all = append(all, running{Instance: deploy.Instance{Type: t, Name: name, Revision: c.Revision, State: deploy.InstanceFinished}})
	}
	for _, w := range p.workers(service) {
		if w.ctx.Err() == nil {
			all = append(all, w.running())
		}
	}
	slices.SortFunc(all, func(a, b running) int {
		return cmp.Or(strings.Compare(a.Revision, b.Revision), strings.Compare(a.Type, b.Type), cmp.Compare(len(a.Name), len(b.Name)), strings.Compare(a.Name, b.Name))
	})
	if measure {
		measured(ctx, all)
	}
	list := make([]deploy.Instance, len(all))
	for i, in := range all {
		list[i] = in.Instance
	}
	return list, nil
}

// Troubles implements deploy.Platform.
func (p *Platform) Troubles(context.Context) (map[string]string, error) {
	p.mu.RLock()
	all := maps.Clone(p.services)
	p.mu.RUnlock()
	found, now := map[string]string{}, time.Now()
	for name, s := range all {
		var instances []deploy.Instance
		for _, r := range s.revisions {
			for _, in := range r.webInstances() {
				instances = append(instances, in.Instance)
			}
		}
		for _, w := range p.workers(name) {
			if w.ctx.Err() == nil {
				instances = append(instances, w.running().Instance)
			}
		}
		if words := deploy.Trouble(instances, now); words != "" {
			found[name] = words
		}
	}
	return found, nil
}

// running is the worker's instance as it is now.
func (w *worker) running() running {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := w.revision.memory()
	if !w.worker.Memory.IsZero() {
		limit = w.worker.Memory.Value()
	}
	return running{w.status, w.runs, limit}
}

// webInstances are the revision's instances that requests go to. The newest tells how the one before it ended.
func (r *revision) webInstances() []running {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []running
	for _, in := range r.instances {
		state := map[state]deploy.InstanceState{starting: deploy.InstanceStarting, inService: deploy.InstanceUp, stopping: deploy.InstanceStopping}[in.state]
		v := running{deploy.Instance{Type: deploy.WebProcess, Name: in.id[strings.LastIndexByte(in.id, '-')+1:], Revision: r.name, State: state}, nil, in.memory()}
		if in.state == inService {
			v.container, v.Since = in.container, in.container.Started
		}
		all = append(all, v)
	}
	if r.gone || r.noWeb {
		return all
	}
	end := r.ended.last()
	if len(all) == 0 && !r.retryAt.IsZero() {
		all = append(all, running{Instance: deploy.Instance{Type: deploy.WebProcess, Revision: r.name, State: deploy.InstanceRestarting}})
	}
	if len(all) > 0 {
		newest := &all[len(all)-1]
		newest.Restarts, newest.Ended, newest.EndedAt = end.times, end.why, end.at
	}
	return all
}

// measured fills in what the instances use.
func measured(ctx context.Context, all []running) {
	before := make([]sandbox.Usage, len(all))
	known := make([]bool, len(all))
	began := time.Now()
	for i, in := range all {
		if in.container != nil {
			before[i], known[i] = in.container.Usage()
		}
	}
	if !slices.Contains(known, true) {
		return
	}
	select {
	case <-time.After(measureFor):
	case <-ctx.Done():
	}
	for i := range all {
		if !known[i] {
			continue
		}
		if now, ok := all[i].container.Usage(); ok {
			cores := float64(now.CPU-before[i].CPU) / float64(time.Since(began))
			all[i].Usage = &deploy.Usage{Memory: now.Memory, Limit: all[i].limit, CPU: max(cores, 0)}
		}
	}
}
