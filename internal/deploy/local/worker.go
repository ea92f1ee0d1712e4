package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// worker keeps one process type of a revision running: one container after the other.
type worker struct {
	revision *revision
	process  string
	log      string             // file, for all its containers
	ctx      context.Context    // ends when the worker should stop, or with the Platform
	cancel   context.CancelFunc // stops it
	gone     chan struct{}      // closed when it has stopped, and its container is removed

	mu     sync.Mutex // mu guards the following
	status deploy.WorkerStatus
}

// note changes what is known of the worker.
func (w *worker) note(change func(*deploy.WorkerStatus)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
}

// Workers implements deploy.Platform.
func (p *Platform) Workers(_ context.Context, service string) ([]deploy.WorkerStatus, error) {
	p.mu.RLock()
	s := p.services[service]
	p.mu.RUnlock()
	if s == nil {
		return nil, fmt.Errorf("service %s: %w", service, deploy.ErrNotFound)
	}
	all := []deploy.WorkerStatus{}
	c, err := p.store.workers(service)
	if err != nil {
		return nil, err
	}
	for _, t := range c.Finished {
		all = append(all, deploy.WorkerStatus{Type: t, Finished: true})
	}
	for _, w := range p.workers(service) {
		if w.ctx.Err() == nil {
			w.note(func(st *deploy.WorkerStatus) { all = append(all, *st) })
		}
	}
	slices.SortFunc(all, func(a, b deploy.WorkerStatus) int { return strings.Compare(a.Type, b.Type) })
	return all, nil
}

// finish notes that a worker has done its work: neither this process nor the next one starts it again before the next release. It does not
// wait: the deletion of the Service waits for its workers.
func (w *worker) finish() {
	r, p := w.revision, w.revision.p
	p.tasks.Go(func() {
		defer p.lock(r.service)()
		if now, err := p.find(r.service, r.name); err != nil || now != r {
			return
		}
		c, err := p.store.workers(r.service)
		if err == nil && c.Revision == r.name && slices.Contains(c.Types, w.process) {
			c.Types = slices.DeleteFunc(c.Types, func(t string) bool { return t == w.process })
			c.Finished = append(c.Finished, w.process)
			err = p.store.saveWorkers(r.service, c)
		}
		if err != nil {
			p.opts.Log("deploy: %s: keep that the worker %s has finished: %v", r.name, w.process, err)
		}
	})
}

// SetWorkers implements deploy.Platform. Two workers of one process type never run at once: the new one starts when the old one has ended.
func (p *Platform) SetWorkers(_ context.Context, svc *servingv1.Service, types []string) error {
	if err := deploy.CheckProcesses(types...); err != nil {
		return err
	}
	defer p.lock(svc.Name)()
	if p.ctx.Err() != nil {
		return app.Errorf(app.CodeUnavailable, "try again in a moment", "the server is shutting down")
	}
	r, err := p.find(svc.Name, svc.Spec.Template.Name)
	if err != nil {
		return err
	}
	types = slices.Compact(slices.Sorted(slices.Values(types)))
	set := workerSet{Revision: r.name, Types: types}
	if before, err := p.store.workers(svc.Name); err == nil && before.Revision == r.name { // those that have finished stay so
		set.Finished = slices.DeleteFunc(before.Finished, func(t string) bool { return !slices.Contains(types, t) })
		types = slices.DeleteFunc(types, func(t string) bool { return slices.Contains(set.Finished, t) })
		set.Types = types
	}
	if err := p.store.saveWorkers(svc.Name, set); err != nil {
		return fmt.Errorf("save the workers of %s: %w", svc.Name, err)
	}
	before := map[string][]*worker{} // those that have to end first, by type
	running := map[string]bool{}
	for _, w := range p.workers(svc.Name) {
		if w.revision == r && slices.Contains(types, w.process) && w.ctx.Err() == nil {
			running[w.process] = true
			continue
		}
		w.cancel()
		before[w.process] = append(before[w.process], w)
	}
	for _, t := range types {
		if !running[t] {
			r.startWorker(t, filepath.Join(p.logDir(r.service, r.name), logName(time.Now(), t+".1")), nil, before[t])
		}
	}
	return nil
}

// workers returns the workers of a Service, also those that are being stopped.
func (p *Platform) workers(service string) []*worker {
	p.mu.RLock()
	s := p.services[service]
	p.mu.RUnlock()
	var all []*worker
	if s != nil {
		for _, r := range s.revisions {
			r.mu.Lock()
			all = slices.AppendSeq(all, maps.Keys(r.workers))
			r.mu.Unlock()
		}
	}
	return all
}

// startWorker starts a worker in the background, once those before it are gone; one with a container of an earlier process continues with
// that. Calls for one Service do not overlap.
func (r *revision) startWorker(process, log string, container *sandbox.Container, before []*worker) *worker {
	w := &worker{revision: r, process: process, log: log, gone: make(chan struct{}), status: deploy.WorkerStatus{Type: process}}
	w.ctx, w.cancel = context.WithCancel(r.p.ctx)
	r.mu.Lock()
	r.workers[w] = struct{}{}
	r.mu.Unlock()
	r.p.tasks.Go(func() {
		defer w.cancel()
		for _, b := range before {
			select {
			case <-b.gone:
			case <-r.p.ctx.Done():
			}
		}
		w.work(container)
		if r.p.ctx.Err() != nil { // the next process continues it
			return
		}
		r.mu.Lock()
		delete(r.workers, w)
		r.mu.Unlock()
		close(w.gone)
		r.p.trimLogs(r.service, r.name)
	})
	return w
}

// work runs one container after the other until the worker is stopped, or the Platform is closed.
func (w *worker) work(container *sandbox.Container) {
	r, p := w.revision, w.revision.p
	if err := makeLog(w.log); err != nil {
		p.opts.Log("deploy: %s: worker %s has no log: %v", r.name, w.process, err)
	}
	var again restarts
	for first := container == nil; w.ctx.Err() == nil || container != nil; first = false {
		in := r.newInstance(processID(r.name, w.process), w.log)
		in.process = w.process
		note, alive := "", time.Duration(0)
		if container != nil {
			in.id = container.ID
			in.attach(container)
			container = nil
		} else if err := in.create(w.ctx); err != nil {
			if w.ctx.Err() != nil {
				return
			}
			note = "did not start: " + startFailure(err)
			w.note(func(s *deploy.WorkerStatus) { s.Ended, s.EndedAt = startErrorOf(err), time.Now() })
		}
		if in.container != nil {
			w.note(func(s *deploy.WorkerStatus) { s.Since = in.container.Started })
			if !w.wait(in) {
				return
			}
			exit := in.container.Exit()
			note, alive = describeExit(exit, r.memory()), exit.At.Sub(in.container.Started)
			if first && exit.Code == 0 && !exit.Told && alive < deploy.FinishesWithin {
				p.appendLog(w.log, fmt.Sprintf("gitd: %s ended with status 0; it is not started again before the next release", w.process))
				w.remove(in)
				w.finish()
				return
			}
			w.note(func(s *deploy.WorkerStatus) { s.Since, s.Ended, s.EndedAt = time.Time{}, in.exited(), exit.At })
			if exit.Told { // not the worker's fault
				again = restarts{}
			}
		}
		pause := again.after(alive)
		note = fmt.Sprintf("gitd: %s %s; it is restarted in %s", w.process, note, pause)
		p.appendLog(w.log, note)
		p.opts.Log("deploy: %s: %s", in.id, note)
		w.remove(in)
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
		}
	}
}

// wait waits for the end of the container. It returns false when the worker was stopped: then the container is removed, or left for the
// next process where the Platform was closed.
func (w *worker) wait(in *instance) bool {
	p := w.revision.p
	select {
	case <-in.container.Done():
		if w.ctx.Err() == nil {
			return true
		}
	case <-w.ctx.Done():
	}
	if p.ctx.Err() != nil {
		return false
	}
	if err := in.container.Stop(p.ctx, p.opts.StopGrace); err == nil || p.ctx.Err() == nil {
		w.remove(in)
	}
	return false
}

// remove removes a container; its log stays.
func (w *worker) remove(in *instance) {
	if in.container == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), time.Minute)
	defer cancel()
	if err := in.container.Remove(ctx); err != nil {
		w.revision.p.opts.Log("deploy: remove %s: %v", in.id, err)
	}
}

// startFailure says why a container could not be started.
func startFailure(err error) string {
	var why *deploy.StartError
	if errors.As(err, &why) && why.Detail != "" {
		return why.Detail
	}
	return err.Error()
}

// startErrorOf is why a container could not be started, for the push.
func startErrorOf(err error) *deploy.StartError {
	var why *deploy.StartError
	if !errors.As(err, &why) {
		why = &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	return why
}

// restarts is the growing pause before a worker that ended is started again.
type restarts struct{ last time.Duration }

// after returns the pause before the next start, given how long the worker was up.
func (r *restarts) after(alive time.Duration) time.Duration {
	const first, longest, steady = time.Second, time.Minute, time.Minute
	if alive >= steady || r.last == 0 {
		r.last = first
	} else {
		r.last = min(2*r.last, longest)
	}
	return r.last
}

// resumeWorkers continues the workers of an earlier process: with their containers where these are left, even ended ones, and with new
// ones for the others. Containers of workers that are not wanted any more are stopped.
func (p *Platform) resumeWorkers(containers []*sandbox.Container) {
	for name, s := range p.services {
		c, err := p.store.workers(name)
		if err != nil {
			p.opts.Log("deploy: the workers of %s cannot be read: %v", name, err)
		}
		wanted := s.revisions[c.Revision]
		found := map[string]bool{}
		before := map[string][]*worker{}
		for _, container := range containers {
			process := container.Labels[labelProcess]
			r := s.revisions[container.Labels[labelRevision]]
			if container.Labels[labelPlatform] != platformLocal || container.Labels[labelService] != name || process == "" || r == nil {
				continue
			}
			if r == wanted && slices.Contains(c.Types, process) && !found[process] {
				found[process] = true
				r.startWorker(process, container.Labels[labelLog], container, nil)
				continue
			}
			w := r.startWorker(process, container.Labels[labelLog], container, nil)
			w.cancel()
			before[process] = append(before[process], w)
		}
		for _, t := range c.Types {
			if wanted != nil && !found[t] {
				wanted.startWorker(t, p.workerLog(wanted, t), nil, before[t])
			}
		}
	}
}

// workerLog returns the log that a worker continues: its newest one, or a new one.
func (p *Platform) workerLog(r *revision, process string) string {
	files := logsIn(p.logDir(r.service, r.name))
	for _, f := range slices.Backward(files) {
		if _, short, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), logSuffix), "-"); short == process+".1" {
			return f
		}
	}
	return filepath.Join(p.logDir(r.service, r.name), logName(time.Now(), process+".1"))
}
