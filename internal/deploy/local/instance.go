package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/local/dataplane"
	"github.com/gitd-io/gitd/internal/sandbox"
)

type state int

// The states of an instance. Its revision's mu guards the state.
const (
	starting  state = iota
	inService       // ready: requests go to it
	stopping        // out of routing
)

// The labels of an instance's container: all that it takes to adopt it.
const (
	labelPlatform = "gitd.platform"
	labelService  = "gitd.service"
	labelRevision = "gitd.revision"
	labelLog      = "gitd.log"
	labelProcess  = "gitd.process" // of a worker's
	platformLocal = "local"
)

// instance is one container of a revision.
type instance struct {
	revision  *revision
	id        string // container ID: revision, "-", five characters; a worker's has its process type between them
	process   string // a worker's type; "" for one that requests go to
	log       string // file
	container *sandbox.Container
	proxy     *dataplane.Instance // nil for a worker
	state     state
	since     time.Time          // ready
	cancel    context.CancelFunc // ends the start
	gone      chan struct{}      // closed when the container is removed
}

func (r *revision) newInstance(id, log string) *instance {
	return &instance{revision: r, id: id, log: log, gone: make(chan struct{})}
}

// launch starts one more instance in the background. The caller holds mu.
func (r *revision) launch() {
	short := strings.ToLower(rand.Text()[:5])
	in := r.newInstance(r.name+"-"+short, filepath.Join(r.p.logDir(r.service, r.name), logName(time.Now(), short)))
	r.raise(in, in.start)
}

// raise brings an instance up by start, and then watches it. The caller holds mu.
func (r *revision) raise(in *instance, start func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(r.p.ctx)
	in.cancel = cancel
	r.instances = append(r.instances, in)
	r.p.promised.Add(r.memory())
	r.p.tasks.Go(func() {
		defer cancel()
		err := start(ctx)
		r.p.promised.Add(-r.memory())
		if err != nil {
			r.fell(in, err)
			return
		}
		r.mu.Lock()
		if in.state == starting && ctx.Err() == nil {
			in.serve()
			r.tell(nil)
		} else { // it was given up in the last moment
			in.state = stopping
			r.mu.Unlock()
			r.discard(in)
			return
		}
		r.mu.Unlock()
		r.poke()
		r.watch(in)
	})
}

// serve puts a started instance into routing. The caller holds the revision's mu.
func (in *instance) serve() {
	in.state, in.since = inService, time.Now()
	in.revision.started = true
	in.revision.publish()
}

// fell handles an instance that did not become ready.
func (r *revision) fell(in *instance, err error) {
	if r.p.ctx.Err() != nil { // Close leaves everything as it is
		return
	}
	r.mu.Lock()
	cancelled := in.state == stopping || r.gone
	in.state = stopping
	r.mu.Unlock()
	r.discard(in)
	if cancelled {
		return
	}
	var why *deploy.StartError
	if !errors.As(err, &why) {
		why = &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error()}
	}
	r.mu.Lock()
	r.failed(why, time.Now())
	r.mu.Unlock()
	r.poke()
}

// discard removes every trace of an instance but its log.
func (r *revision) discard(in *instance) {
	if in.container != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.p.ctx), time.Minute)
		if err := in.container.Remove(ctx); err != nil {
			r.p.opts.Log("deploy: remove %s: %v", in.id, err)
		}
		cancel()
	}
	if in.proxy != nil {
		in.proxy.Close()
	}
	r.mu.Lock()
	r.instances = slices.DeleteFunc(r.instances, func(o *instance) bool { return o == in })
	r.mu.Unlock()
	close(in.gone)
	r.p.trimLogs(r.service, r.name)
	r.poke()
}

// watch waits for the end of a ready instance. One that ended by itself is replaced.
func (r *revision) watch(in *instance) {
	select {
	case <-in.container.Done():
	case <-r.p.ctx.Done():
		return
	}
	r.mu.Lock()
	if in.state != inService { // it was told to end
		r.mu.Unlock()
		return
	}
	in.state = stopping
	r.publish()
	exit := in.container.Exit()
	now := time.Now()
	if now.Sub(in.since) > time.Minute {
		r.failures = 0
	}
	if !exit.Told {
		r.failures++
	}
	if r.failures > 1 { // once may happen; more often it is something lasting
		r.retryAt = now.Add(backOff(r.failures))
		if ready, _ := r.count(); ready == 0 && r.failures >= 3 {
			r.proxy.SetFailing("ends again and again: its log says why; tell its owner")
		}
	}
	r.mu.Unlock()
	if !exit.Told {
		r.ended.note(in.exited())
	}
	r.poke()
	note := "gitd: the instance " + describeExit(exit, r.memory())
	r.p.appendLog(in.log, note)
	r.p.opts.Log("deploy: %s: %s", in.id, note)
	r.discard(in)
}

// retire takes an instance out of routing, lets its requests end, and stops it. The caller holds mu.
func (r *revision) retire(in *instance) {
	if in == nil || in.state == stopping {
		return
	}
	was := in.state
	in.state = stopping
	if was == starting {
		in.cancel()
		return
	}
	r.publish()
	r.p.tasks.Go(func() {
		if !r.drain(in) {
			return
		}
		if err := in.container.Stop(r.p.ctx, r.p.opts.StopGrace); err != nil && r.p.ctx.Err() != nil {
			return
		}
		r.discard(in)
	})
}

// drain waits until nothing is in flight at the instance, or the time for that is over. It returns false when the Platform
// was closed: the instance then stays for the next process.
func (r *revision) drain(in *instance) bool {
	r.mu.Lock()
	limit := r.p.opts.DrainTimeout
	if !r.drainBy.IsZero() { // of the whole revision
		limit = time.Until(r.drainBy)
	}
	r.mu.Unlock()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for in.proxy.InFlight() > 0 {
		select {
		case <-tick.C:
		case <-in.container.Done():
			return true
		case <-deadline.C:
			r.p.opts.Log("deploy: %s is stopped with %d requests in flight", in.id, in.proxy.InFlight())
			return true
		case <-r.p.ctx.Done():
			return false
		}
	}
	return r.p.ctx.Err() == nil
}

// start starts the container and waits until the app answers.
func (in *instance) start(ctx context.Context) error {
	if err := in.create(ctx); err != nil {
		return err
	}
	return in.settle(ctx, in.revision.deadline)
}

// create unpacks what is missing of the image and starts the container.
func (in *instance) create(ctx context.Context) error {
	r, p := in.revision, in.revision.p
	img, err := r.prepare(ctx) // outside of the turns: a large image is nobody else's matter
	if err != nil {
		return err
	}
	give, err := p.starts.take(ctx, r.service)
	if err != nil {
		return err
	}
	defer give()
	if err := makeLog(in.log); err != nil {
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error()}
	}
	spec := r.spec(img)
	spec.ID, spec.LogFile, spec.LogSize, spec.Grace = in.id, in.log, p.opts.LogLimit, p.opts.StopGrace
	spec.Labels = map[string]string{labelPlatform: platformLocal, labelService: r.service, labelRevision: r.name, labelLog: in.log}
	if in.process != "" {
		spec.Args, spec.Labels[labelProcess] = []string{deploy.ProcessDir + in.process}, in.process
	}
	c, err := p.opts.Host.Start(ctx, spec)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	in.take(c)
	return nil
}

// take makes the container the instance's own.
func (in *instance) take(c *sandbox.Container) {
	in.container = c
	if in.process != "" {
		return
	}
	port := in.revision.port
	in.proxy = dataplane.NewInstance(in.id, in.revision.h2c, func(ctx context.Context) (net.Conn, error) { return c.Dial(ctx, port) })
}

// settle polls the readiness probe until it passes.
func (in *instance) settle(ctx context.Context, limit time.Duration) error {
	r, c := in.revision, in.container
	began := time.Now()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	check, needed := readiness(r.probe, in.id, r.port, r.h2c, c.Dial)
	if r.probe != nil && r.probe.InitialDelaySeconds > 0 {
		select {
		case <-time.After(time.Duration(r.probe.InitialDelaySeconds) * time.Second):
		case <-c.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var elsewhere, looked time.Time
	for passed := 0; ; {
		if check(ctx) {
			if passed++; passed >= needed {
				return nil
			}
		} else {
			passed = 0
		}
		waited := time.Since(began)
		pause := time.Millisecond
		switch {
		case waited > 5*time.Second:
			pause = 100 * time.Millisecond
		case waited > time.Second:
			pause = 25 * time.Millisecond
		case waited > 100*time.Millisecond:
			pause = 5 * time.Millisecond
		}
		select {
		case <-c.Done():
			return in.exited()
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			ports, _ := c.Listening()
			return in.silent(slices.DeleteFunc(ports, func(p int) bool { return p == r.port }), r.deadline)
		case <-time.After(pause):
		}
		if time.Since(looked) < 250*time.Millisecond || waited < 500*time.Millisecond {
			continue
		}
		looked = time.Now()
		switch ports, err := c.Listening(); {
		case err != nil || len(ports) == 0 || slices.Contains(ports, r.port):
			elsewhere = time.Time{}
		case elsewhere.IsZero():
			elsewhere = looked
		case time.Since(elsewhere) > 3*time.Second: // it has made up its mind
			return in.silent(ports, waited)
		}
	}
}

func (in *instance) silent(ports []int, waited time.Duration) error {
	e := &deploy.StartError{Reason: deploy.NotListening, Port: in.revision.port, Listens: ports, Waited: waited}
	e.LogTail, e.ReadOnly = tailOf(in.log)
	return e
}

func (in *instance) exited() *deploy.StartError {
	exit := in.container.Exit()
	e := &deploy.StartError{Reason: deploy.Exited, Port: in.revision.port, ExitCode: exit.Code, Signal: exit.Signal}
	e.LogTail, e.ReadOnly = tailOf(in.log)
	if exit.OutOfMemory {
		e.Reason, e.Detail = deploy.OutOfMemory, byteSize(in.revision.memory())
	}
	return e
}

func describeExit(e sandbox.Exit, memory int64) string {
	switch {
	case e.Told:
		return "was ended with the machine, or by a signal to gitd-shim"
	case e.OutOfMemory:
		return "was killed at its memory limit of " + byteSize(memory)
	case e.Signal != "":
		return "was ended by a signal (" + e.Signal + ")"
	}
	return fmt.Sprintf("exited with status %d", e.Code)
}

func byteSize(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// memory is the memory limit of an instance in bytes.
func (r *revision) memory() int64 {
	limits := r.template.Template.Spec.Containers[0].Resources.Limits
	if q, ok := limits[corev1.ResourceMemory]; ok && q.Value() > 0 {
		return q.Value()
	}
	return r.p.opts.Memory
}

// adopt takes over the containers that an earlier process left: those of revisions that there still are go on serving, what
// ended or belongs to nothing is removed.
func (p *Platform) adopt(ctx context.Context) error {
	containers, err := p.opts.Host.Containers(ctx)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	waiting := 0
	p.resume(containers)
	for _, c := range containers {
		if c.Labels[labelPlatform] != platformLocal {
			continue
		}
		var r *revision
		if s := p.services[c.Labels[labelService]]; s != nil {
			r = s.revisions[c.Labels[labelRevision]]
		}
		if r != nil && c.Labels[labelProcess] != "" {
			continue // resume has seen to it
		}
		ended := false
		select {
		case <-c.Done():
			ended = true
		default:
		}
		if r == nil || ended {
			p.tasks.Go(func() {
				if err := c.Remove(context.WithoutCancel(p.ctx)); err != nil {
					p.opts.Log("deploy: remove %s: %v", c.ID, err)
				}
			})
			continue
		}
		in := r.newInstance(c.ID, c.Labels[labelLog])
		in.take(c)
		r.mu.Lock()
		r.wanted++
		answered := make(chan struct{})
		r.raise(in, func(ctx context.Context) error {
			defer close(answered)
			return in.settle(ctx, r.deadline)
		})
		r.mu.Unlock()
		waiting++
		go func() {
			select {
			case <-answered:
			case <-p.ctx.Done():
			}
			done <- struct{}{}
		}()
	}
	// An app that served before answers at once; one that does not must not keep the others waiting.
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	for i := range waiting {
		select {
		case <-done:
		case <-limit.C:
			go func(left int) {
				for range left {
					<-done
				}
			}(waiting - i)
			return nil
		}
	}
	return nil
}
