package local

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/proxy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// state is where an instance is in its life.
type state int

const (
	starting  state = iota
	inService       // ready: requests go to it
	stopping        // not routed to any more
)

// The labels of an instance's container: all that the next process needs to adopt it.
const (
	labelPlatform = "gitd.platform"
	labelService  = "gitd.service"
	labelRevision = "gitd.revision"
	labelLog      = "gitd.log"
	labelProcess  = "gitd.process"  // of a worker's
	labelNumber   = "gitd.instance" // the same
	platformLocal = "local"
)

// instance is one container of a revision. Its life:
//
//  1. launch makes it, starting, and supervise runs start: image, container (or the app in a prepared one), readiness probe. A container of an earlier process begins
//     at the probe instead (adopt).
//  2. When the probe passes, serve puts it into routing, inService. When it does not, startFailed notes why and discards it.
//  3. watch waits for its end. One that ends by itself is stopping, noted in its log, discarded and replaced.
//  4. retire, when fewer instances are wanted, makes it stopping: no new requests; drain, stop, discard.
//
// discard closes gone: nothing but the log is left. When the process ends, the container stays, in any of these states.
type instance struct {
	revision  *revision
	id        string // container ID: revision, "-", five characters; a worker's has its process type between them
	worker    *place // nil for one that requests go to
	spare     *spare // that it starts from; nil for none, and once it is used
	log       string // file
	container *sandbox.Container
	proxy     *proxy.Instance    // nil for a worker
	cancel    context.CancelFunc // ends the start
	gone      chan struct{}      // closed when the container is removed

	// The revision's mu guards the following.
	state state
	since time.Time // when it became ready
}

// memory is the instance's limit in bytes.
func (in *instance) memory() int64 {
	if in.worker != nil && !in.worker.worker.Memory.IsZero() {
		return in.worker.worker.Memory.Value()
	}
	return in.revision.memory()
}

func (r *revision) newInstance(id, log string) *instance {
	return &instance{revision: r, id: id, log: log, gone: make(chan struct{})}
}

// launch starts one more instance in the background. The caller holds mu.
func (r *revision) launch() {
	var in *instance
	if s := r.takeSpare(); s != nil {
		in = r.newInstance(s.id, s.log)
		in.spare = s
	} else {
		short := strings.ToLower(rand.Text()[:5])
		in = r.newInstance(r.name+"-"+short, filepath.Join(r.p.logDir(r.service, r.name), logName(time.Now(), short)))
	}
	began := time.Now()
	r.supervise(in, func(ctx context.Context) error {
		err := in.start(ctx)
		if err == nil {
			r.counted(deploy.WebProcess, func(c *counts) { c.ready.Observe(time.Since(began)) })
		}
		return err
	})
}

// supervise brings an instance up by start, and then watches it, in the background. The caller holds mu.
func (r *revision) supervise(in *instance, start func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(r.p.ctx)
	in.cancel = cancel
	r.instances = append(r.instances, in)
	r.p.promised.Add(r.memory())
	r.p.tasks.Go(func() {
		defer cancel()
		err := start(ctx)
		r.p.promised.Add(-r.memory())
		if err != nil {
			r.startFailed(in, err)
			return
		}
		r.mu.Lock()
		if in.state == starting && ctx.Err() == nil {
			in.serve()
			r.notify(nil)
		} else { // it was cancelled at the last moment
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
	in.revision.started, in.revision.used = true, true
	in.revision.publish()
}

// startFailed handles an instance that did not become ready.
func (r *revision) startFailed(in *instance, err error) {
	if r.p.ctx.Err() != nil { // Close leaves the container for the next process
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
	r.ended.note(why, false)
	r.counted(deploy.WebProcess, func(c *counts) {
		c.failed++
		if why.Reason == deploy.OutOfMemory {
			c.outOfMemory++
		}
	})
	r.mu.Lock()
	r.noteFailure(why, time.Now())
	r.mu.Unlock()
	r.poke()
}

// discard removes everything of an instance but its log.
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

// watch waits for the end of a ready instance, and lets one that ended by itself be replaced.
func (r *revision) watch(in *instance) {
	select {
	case <-in.container.Done():
	case <-r.p.ctx.Done():
		return
	}
	r.mu.Lock()
	if in.state != inService { // retire stopped it
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
	if r.failures > 1 { // a single crash is replaced at once; repeated ones are delayed
		r.retryAt = now.Add(backOff(r.failures))
		if ready, _ := r.count(); ready == 0 && r.failures >= 3 {
			r.proxy.SetFailing("crashes repeatedly: its log says why; tell its owner")
		}
	}
	r.mu.Unlock()
	if !exit.Told {
		why := in.exited()
		r.ended.note(why, true)
		r.counted(deploy.WebProcess, func(c *counts) { c.noteEnd(why) })
	}
	r.poke()
	note := "gitd: the instance " + describeExit(exit, r.memory())
	r.p.appendLog(in.log, note)
	r.p.opts.Log("deploy: %s: %s", in.id, note)
	r.discard(in)
}

// retire takes an instance out of routing, lets its requests finish, and stops it. The caller holds mu.
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

// drain waits until no request is in flight at the instance, or the limit is over. It returns false when the Platform
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
