package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/local/scale"
	"github.com/gitd-io/gitd/internal/proxy"
)

// revision is one revision with its instances. A goroutine of its own (run) compares the wanted with the actual state: once a second
// while the revision has instances, requests or a retry to wait for, else only after a poke. Its life:
//
//  1. newRevision makes it from a template; Apply or Open publishes it, and run starts its goroutine.
//  2. step decides how many instances there should be, by the autoscaler, the traffic and the callers of WaitReady, and starts or
//     stops the difference. At zero instances a request, a tag or WaitReady pokes it.
//  3. Instances that do not start, or crash, delay the next start (retryAt); after some of them requests are answered 503 with the reason.
//  4. close ends it, when its Service or the revision itself is deleted: no new starts, requests in flight finish within a limit, then
//     instances and workers are stopped. When the process ends instead, instances stay, and the next process adopts them.
type revision struct {
	p        *Platform
	service  string
	name     string
	template template
	settings

	proxy   *proxy.Revision
	poked   chan struct{}
	stop    context.CancelFunc // of the goroutine
	stopped chan struct{}      // closed when the goroutine has ended
	ended   lastEnd

	counting sync.Mutex         // guards counts
	counts   map[string]*counts // by process type

	mu sync.Mutex // mu guards the following, and the state of the instances

	image     *image // layers and configuration; nil before the first start
	instances []*instance
	workers   map[*worker]struct{} // also those that are being stopped
	gone      bool                 // deleted
	drainBy   time.Time            // when requests in flight are cut off; zero until the revision is deleted

	// For step: how many instances there should be.
	scaler    *scale.Scaler // nil while there is nothing to decide
	wanted    int           // what the scaler decided last
	reachable bool          // it has traffic or a tag
	halted    bool          // its Service is stopped: nothing of it runs
	started   bool          // an instance was ready once
	used      bool          // an instance was ready since the revision was last at zero
	usedUntil time.Time     // when it came to zero; zero where it may have no prepared instance
	spare     *spare        // nil for none
	lowMemory time.Time     // when the log last said that there is no memory for more instances

	// For WaitReady, and for starts that fail.
	waiters  map[chan error]struct{} // each gets the result of the next start
	pins     int                     // callers of WaitReady: they keep one instance
	failures int                     // failed starts in a row
	retryAt  time.Time               // no start before that; zero where the next one may begin
}

// run starts the revision's goroutine.
func (p *Platform) run(r *revision) {
	ctx, cancel := context.WithCancel(p.ctx)
	r.stop = cancel
	p.tasks.Go(func() {
		defer close(r.stopped)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.poked:
			case <-timer.C:
			}
			if again := r.step(time.Now()); again > 0 {
				timer.Reset(again)
			} else {
				timer.Stop()
			}
		}
	})
}

// poke makes the revision's goroutine take a step soon. It does not block.
func (r *revision) poke() {
	select {
	case r.poked <- struct{}{}:
	default:
	}
}

func (r *revision) setReachable(yes, stopped bool) {
	r.mu.Lock()
	changed := r.reachable != yes || r.halted != stopped
	r.reachable, r.halted = yes, stopped
	r.mu.Unlock()
	if changed {
		r.poke()
	}
}

// step decides how many instances there should be, and starts or stops the difference. It returns the time until the next step; 0 for
// none before a poke.
func (r *revision) step(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.noWeb {
		return 0
	}
	if r.halted {
		r.scaler, r.wanted, r.failures, r.retryAt = nil, 0, 0, time.Time{}
		r.canPrepare(false, now)
		for _, in := range slices.Clone(r.instances) {
			r.retire(in)
		}
		return 0
	}
	if !r.retryAt.IsZero() && !now.Before(r.retryAt) {
		r.retryAt = time.Time{}
		r.proxy.ClearFailing()
	}
	ready, alive := r.count()
	inflight := r.proxy.InFlight()
	busy := len(r.instances) > 0 || inflight > 0 || r.pins > 0 || !r.retryAt.IsZero()
	if !busy && (!r.reachable || r.started && r.fewest == 0) {
		r.scaler, r.wanted = nil, 0
		r.canPrepare(r.reachable && r.started && r.fewest == 0, now)
		return 0
	}
	if r.scaler == nil {
		_ = r.proxy.Report(now) // discards what was counted without a scaler
		s, err := scale.New(r.scaling, max(ready, r.wanted), now)
		if err != nil { // cannot be: newRevision has done the same
			r.p.opts.Log("deploy: %s: %v", r.name, err)
			return time.Second
		}
		r.scaler = s
	}
	r.scaler.Record(now, r.proxy.Report)
	r.wanted = r.scaler.Decide(now, scale.State{Ready: ready, Wanted: r.wanted, InFlight: inflight, Reachable: r.reachable, Started: r.started})
	want := max(r.wanted, r.withSockets())
	if r.pins > 0 {
		want = max(want, 1)
	}
	for ; alive < want && r.retryAt.IsZero() && r.hasMemory(alive, now); alive++ {
		r.launch()
	}
	if alive > want && ready > want { // a WebSocket may have been opened since the proxy has told
		r.p.proxy.Refresh()
		want = max(want, r.withSockets())
	}
	for ; alive > want; alive-- {
		r.retire(r.surplus())
	}
	again := time.Second
	if !r.retryAt.IsZero() {
		again = max(min(again, r.retryAt.Sub(now)), time.Millisecond)
	}
	return again
}

// count returns how many instances take requests, and how many are not being stopped. The caller holds mu.
func (r *revision) count() (ready, alive int) {
	for _, in := range r.instances {
		switch in.state {
		case inService:
			ready++
			alive++
		case starting:
			alive++
		}
	}
	return ready, alive
}

// withSockets is how many instances have open WebSockets: scaling down does not cut them. The caller holds mu.
func (r *revision) withSockets() (n int) {
	for _, in := range r.instances {
		if in.state == inService && in.proxy.Sockets() > 0 {
			n++
		}
	}
	return n
}

// surplus returns the instance to stop first: one that is starting, else one without WebSockets, the least busy. The caller holds mu.
func (r *revision) surplus() *instance {
	var best *instance
	for _, in := range r.instances {
		if in.state == starting {
			return in
		}
		if in.state == inService && (best == nil || in.lighter(best)) {
			best = in
		}
	}
	return best
}

func (in *instance) lighter(than *instance) bool {
	a, b := in.proxy.Sockets() > 0, than.proxy.Sockets() > 0
	return a != b && !a || a == b && in.proxy.InFlight() < than.proxy.InFlight()
}

// publish gives the data plane the instances that take requests. The caller holds mu.
func (r *revision) publish() {
	var list []*proxy.Instance
	for _, in := range r.instances {
		if in.state == inService {
			list = append(list, in.proxy)
		}
	}
	r.proxy.SetInstances(list)
}

// close ends the revision: it stops its workers, lets requests in flight finish, then stops the instances.
func (r *revision) close(ctx context.Context) error {
	deadline := time.Now().Add(r.p.opts.DrainTimeout)
	r.mu.Lock()
	r.gone, r.drainBy = true, deadline
	r.notify(fmt.Errorf("revision %s was deleted: %w", r.name, deploy.ErrNotFound))
	for _, in := range r.instances {
		if in.state == starting { // it has no requests; waiting ones fail with it
			in.cancel()
		}
	}
	if ready, _ := r.count(); ready == 0 {
		r.proxy.SetFailing("was removed")
	}
	prepared := r.drop()
	workers := slices.Collect(maps.Keys(r.workers))
	for _, w := range workers {
		w.cancel()
	}
	r.mu.Unlock()
	r.stop()
	<-r.stopped
	drain, cancel := context.WithDeadline(ctx, deadline)
	_ = r.proxy.Close(drain) // requests still in flight after the limit are cut off
	cancel()
	r.mu.Lock()
	left := append([]*instance(nil), r.instances...)
	for _, in := range left {
		r.retire(in)
	}
	r.mu.Unlock()
	for _, in := range left {
		select {
		case <-in.gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, w := range workers {
		select {
		case <-w.gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if prepared != nil {
		select {
		case <-prepared:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *revision) status(traffic []servingv1.TrafficTarget) deploy.RevisionStatus {
	r.mu.Lock()
	ready, _ := r.count()
	r.mu.Unlock()
	st := deploy.RevisionStatus{Name: r.name, Instances: ready, InFlight: int(r.proxy.InFlight())}
	for _, t := range traffic {
		if t.RevisionName != r.name {
			continue
		}
		st.Percent += percent(t)
		if t.Tag != "" {
			st.Tags = append(st.Tags, t.Tag)
		}
	}
	return st
}
