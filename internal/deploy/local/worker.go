package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// worker keeps one instance of a process type running: one container after the other.
type worker struct {
	revision *revision
	place
	log    string             // file, for all its containers
	ctx    context.Context    // ends when the worker should stop, or with the Platform
	cancel context.CancelFunc // stops it
	gone   chan struct{}      // closed when it has stopped, and its container is removed

	mu     sync.Mutex // mu guards the following
	status deploy.Instance
	runs   *sandbox.Container // nil while it does not run
}

// note changes what is known of the worker.
func (w *worker) note(change func(*deploy.Instance)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
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
		if _, there := c.places()[w.name()]; err == nil && c.Revision == r.name && there {
			c.Finished = append(c.Finished, w.name())
			err = p.store.saveWorkers(r.service, c)
		}
		if err != nil {
			p.opts.Log("deploy: %s: keep that the worker %s has finished: %v", r.name, w.name(), err)
		}
	})
}

// SetWorkers implements deploy.Platform. Two workers of one process type of two revisions never run at once: the new ones start when the old
// ones have ended.
func (p *Platform) SetWorkers(_ context.Context, svc *servingv1.Service, workers []deploy.Worker) error {
	if err := deploy.CheckProcesses(deploy.WorkerTypes(workers)...); err != nil {
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
	set := workerSet{Revision: r.name, Workers: workers}
	if before, err := p.store.workers(svc.Name); err == nil && before.Revision == r.name { // those that have finished stay so
		wanted := set.places()
		set.Finished = slices.DeleteFunc(before.Finished, func(name string) bool { _, still := wanted[name]; return !still })
	}
	if err := p.store.saveWorkers(svc.Name, set); err != nil {
		return fmt.Errorf("save the workers of %s: %w", svc.Name, err)
	}
	wanted := set.places()
	before := map[string][]*worker{} // those that have to end first, by type
	for _, w := range p.workers(svc.Name) {
		if to, ok := wanted[w.name()]; ok && w.revision == r && to.sameSize(w.place) && w.ctx.Err() == nil {
			delete(wanted, w.name())
			continue
		}
		w.cancel()
		before[w.worker.Type] = append(before[w.worker.Type], w)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		r.startWorker(wanted[name], filepath.Join(p.logDir(r.service, r.name), logName(time.Now(), name)), nil, before[wanted[name].worker.Type])
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
func (r *revision) startWorker(at place, log string, container *sandbox.Container, before []*worker) *worker {
	w := &worker{revision: r, place: at, log: log, gone: make(chan struct{}),
		status: deploy.Instance{Type: at.worker.Type, Name: at.name(), Revision: r.name, State: deploy.InstanceStarting}}
	w.recallRestarts()
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
		p.opts.Log("deploy: %s: worker %s has no log: %v", r.name, w.name(), err)
	}
	var again restarts
	for first := container == nil; w.ctx.Err() == nil || container != nil; first = false {
		in := w.instance(container)
		adopted := container != nil
		container = nil
		note, alive := "", time.Duration(0)
		if !adopted {
			if err := in.create(w.ctx); err != nil {
				if w.ctx.Err() != nil {
					return
				}
				note = "did not start: " + startFailure(err)
				r.counted(w.worker.Type, func(c *counts) { c.failed++ })
				w.note(func(s *deploy.Instance) { s.Ended, s.EndedAt = startErrorOf(err), time.Now() })
			}
		}
		if in.container != nil {
			w.runsIn(in.container)
			if !w.wait(in) {
				return
			}
			exit := in.container.Exit()
			note, alive = describeExit(exit, in.memory()), exit.At.Sub(in.container.Started)
			if first && exit.Code == 0 && !exit.Told && alive < deploy.FinishesWithin {
				p.appendLog(w.log, fmt.Sprintf("gitd: %s ended with status 0; it is not started again before the next release", w.worker.Type))
				w.remove(in)
				w.finish()
				return
			}
			why := in.exited()
			w.note(func(s *deploy.Instance) { s.Ended, s.EndedAt = why, exit.At })
			if exit.Told { // not the worker's fault
				again = restarts{}
			} else {
				r.counted(w.worker.Type, func(c *counts) { c.noteEnd(why) })
			}
		}
		pause := again.after(alive)
		w.note(func(s *deploy.Instance) { s.State, s.Since = deploy.InstanceRestarting, time.Time{}; s.Restarts++ })
		w.keepRestarts()
		note = fmt.Sprintf("gitd: %s %s; it is restarted in %s", w.worker.Type, note, pause)
		p.appendLog(w.log, note)
		p.opts.Log("deploy: %s: %s", in.id, note)
		w.remove(in)
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
		}
	}
}

// instance returns the next instance of the worker: in that container, or in a new one for nil.
func (w *worker) instance(container *sandbox.Container) *instance {
	in := w.revision.newInstance(processID(w.revision.name, w.worker.Type), w.log)
	in.worker = &w.place
	if container != nil {
		in.id = container.ID
		in.attach(container)
		w.revision.sinkAgain(container)
	}
	return in
}

// apply makes the container of web one of the worker's.
func (p *place) apply(s *sandbox.Spec) {
	s.Args = []string{deploy.ProcessDir + p.worker.Type}
	s.Labels[labelProcess], s.Labels[labelNumber] = p.worker.Type, strconv.Itoa(p.number)
	if q := p.worker.Memory; !q.IsZero() {
		s.Memory, s.Scratch = q.Value(), q.Value()
	}
	if q := p.worker.CPU; !q.IsZero() {
		s.CPU = q.AsApproximateFloat64()
	}
}

// runsIn notes that a container of the worker runs.
func (w *worker) runsIn(c *sandbox.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs, w.status.State, w.status.Since = c, deploy.InstanceUp, c.Started
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
	w.mu.Lock()
	w.runs = nil
	w.mu.Unlock()
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
		current, wanted := s.revisions[c.Revision], c.places()
		before := map[string][]*worker{}
		for _, container := range containers {
			at := placeOf(container)
			r := s.revisions[container.Labels[labelRevision]]
			if container.Labels[labelPlatform] != platformLocal || container.Labels[labelService] != name || at.worker.Type == "" || r == nil {
				continue
			}
			if to, ok := wanted[at.name()]; ok && r == current {
				delete(wanted, at.name())
				r.startWorker(to, container.Labels[labelLog], container, nil)
				continue
			}
			w := r.startWorker(at, container.Labels[labelLog], container, nil)
			w.cancel()
			before[at.worker.Type] = append(before[at.worker.Type], w)
		}
		if current == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			current.startWorker(wanted[name], p.workerLog(current, name), nil, before[wanted[name].worker.Type])
		}
	}
}

// placeOf is the place of a worker's container; one without a type for others.
func placeOf(c *sandbox.Container) place {
	n, err := strconv.Atoi(c.Labels[labelNumber])
	if err != nil { // of an older gitd
		n = 1
	}
	return place{deploy.Worker{Type: c.Labels[labelProcess]}, n}
}

// workerLog returns the log that a worker continues: its newest one, or a new one.
func (p *Platform) workerLog(r *revision, name string) string {
	files := logsIn(p.logDir(r.service, r.name))
	for _, f := range slices.Backward(files) {
		if _, short, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), logSuffix), "-"); short == name {
			return f
		}
	}
	return filepath.Join(p.logDir(r.service, r.name), logName(time.Now(), name))
}
