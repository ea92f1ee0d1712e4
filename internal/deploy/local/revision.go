package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/ptr"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	gosync "sync"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/local/dataplane"
	"github.com/gitd-io/gitd/internal/deploy/local/scale"
)

// revision is one revision with its instances. A goroutine of its own compares what should be with what is: once a second
// while there is something to see to, else only when it is poked.
type revision struct {
	p        *Platform
	service  string
	name     string
	template template

	proxy    *dataplane.Revision
	scaling  scale.Options
	fewest   int // min-scale
	port     int
	h2c      bool
	probe    *corev1.Probe
	deadline time.Duration // for an instance to become ready
	poked    chan struct{}
	stop     context.CancelFunc // of the goroutine
	stopped  chan struct{}
	ended    lastEnd

	mu        gosync.Mutex
	image     *image // what was found out about the image; nil before the first start
	instances []*instance
	workers   map[*worker]struct{} // also those that are on their way out
	scaler    *scale.Scaler        // nil while there is nothing to decide
	wanted    int
	reachable bool
	started   bool      // an instance was ready once
	gone      bool      // deleted
	drainBy   time.Time // when what is in flight is broken off; zero until it is deleted
	scarce    time.Time // when the log last said that there is no memory for more instances
	pins      int       // callers of WaitReady
	waiters   map[chan error]struct{}
	failures  int       // starts in a row that failed
	retryAt   time.Time // no start before; zero for at once
}

func (p *Platform) newRevision(service string, t template, started bool) (*revision, error) {
	spec := &t.Template.Spec
	if len(spec.Containers) != 1 {
		return nil, fmt.Errorf("it has %d containers", len(spec.Containers))
	}
	c := &spec.Containers[0]
	r := &revision{p: p, service: service, name: t.Template.Name, template: t, port: 8080, probe: c.ReadinessProbe,
		poked: make(chan struct{}, 1), stopped: make(chan struct{}), waiters: map[chan error]struct{}{}, workers: map[*worker]struct{}{}, started: started,
		deadline: p.opts.ProgressDeadline}
	http1 := false
	if len(c.Ports) > 0 { // the names are Knative's
		r.port = int(c.Ports[0].ContainerPort)
		r.h2c = c.Ports[0].Name == "h2c"
		http1 = c.Ports[0].Name == "http1"
	}
	if v := t.Template.Annotations[serving.ProgressDeadlineAnnotationKey]; v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			return nil, err
		}
		r.deadline = d
	}
	r.scaling = scale.Options{Annotations: t.Template.Annotations, Concurrency: ptr.Int64Value(spec.ContainerConcurrency),
		Grace: p.opts.ScaleToZeroGrace, Most: p.opts.MaxScale}
	s, err := scale.New(r.scaling, 0, time.Now())
	if err != nil {
		return nil, err
	}
	r.fewest, _ = s.Bounds()
	r.proxy = dataplane.NewRevision(dataplane.RevisionOptions{
		App:         service,
		Concurrency: int(r.scaling.Concurrency),
		Timeout:     time.Duration(ptr.Int64Value(spec.TimeoutSeconds)) * time.Second,
		Wake:        r.poke,
		HTTP1:       http1,
		H2C:         t.H2C,
		Learned:     r.speaksH2C,
	}, time.Now())
	return r, nil
}

// speaksH2C notes what the app turned out to speak, for the next process. It does not block.
func (r *revision) speaksH2C() {
	r.p.tasks.Go(func() {
		defer r.p.lock(r.service)()
		if now, err := r.p.find(r.service, r.name); err != nil || now != r {
			return
		}
		t := r.template
		t.H2C = true
		if err := r.p.store.saveRevision(r.service, t); err != nil {
			r.p.opts.Log("deploy: keep that %s speaks HTTP/2: %v", r.name, err)
		}
	})
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

// poke makes the revision look again soon. It does not block.
func (r *revision) poke() {
	select {
	case r.poked <- struct{}{}:
	default:
	}
}

func (r *revision) setReachable(yes bool) {
	r.mu.Lock()
	changed := r.reachable != yes
	r.reachable = yes
	r.mu.Unlock()
	if changed {
		r.poke()
	}
}

// step decides how many instances there should be and starts or removes what differs. It returns when to look again; 0 for
// not before a poke.
func (r *revision) step(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
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
		return 0
	}
	if r.scaler == nil {
		_ = r.proxy.Report(now) // of a time that does not count
		s, err := scale.New(r.scaling, max(ready, r.wanted), now)
		if err != nil { // it worked before
			r.p.opts.Log("deploy: %s: %v", r.name, err)
			return time.Second
		}
		r.scaler = s
	}
	r.scaler.Record(now, r.proxy.Report)
	r.wanted = r.scaler.Decide(now, scale.State{Ready: ready, Wanted: r.wanted, InFlight: inflight, Reachable: r.reachable, Started: r.started})
	want := max(r.wanted, r.holding())
	if r.pins > 0 {
		want = max(want, 1)
	}
	for ; alive < want && r.retryAt.IsZero() && r.room(alive, now); alive++ {
		r.launch()
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

// count returns how many instances take requests, and how many of all are not on their way out. The caller holds mu.
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

// holding is how many instances have open WebSockets: scaling down does not cut them. The caller holds mu.
func (r *revision) holding() (n int) {
	for _, in := range r.instances {
		if in.state == inService && in.proxy.Sockets() > 0 {
			n++
		}
	}
	return n
}

// surplus returns the instance to part with first: one that is starting, else one without WebSockets, the least busy. The caller holds mu.
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

// publish tells the data plane which instances there are. The caller holds mu.
func (r *revision) publish() {
	var list []*dataplane.Instance
	for _, in := range r.instances {
		if in.state == inService {
			list = append(list, in.proxy)
		}
	}
	r.proxy.SetInstances(list)
}

// tell answers the callers of WaitReady. The caller holds mu.
func (r *revision) tell(err error) {
	for ch := range r.waiters {
		ch <- err
		delete(r.waiters, ch)
	}
}

// waitReady blocks until an instance is ready or one has failed to start.
func (r *revision) waitReady(ctx context.Context) error {
	ch := make(chan error, 1)
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return fmt.Errorf("revision %s: %w", r.name, deploy.ErrNotFound)
	}
	if ready, _ := r.count(); ready > 0 {
		r.mu.Unlock()
		return nil
	}
	r.waiters[ch] = struct{}{}
	r.pins++
	r.retryAt = time.Time{}
	r.mu.Unlock()
	r.poke()
	defer func() {
		r.mu.Lock()
		r.pins--
		delete(r.waiters, ch)
		r.mu.Unlock()
		r.poke()
	}()
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.p.ctx.Done():
		return context.Canceled
	}
}

// backOff is how long to wait after so many failures in a row.
func backOff(failures int) time.Duration {
	return min(250*time.Millisecond<<min(failures, 10), time.Minute)
}

// failed notes an instance that did not come up. The caller holds mu.
func (r *revision) failed(err *deploy.StartError, now time.Time) {
	r.failures++
	r.retryAt = now.Add(backOff(r.failures))
	r.tell(err)
	if ready, _ := r.count(); ready == 0 && (r.failures >= 3 || err.Reason != deploy.Exited && err.Reason != deploy.OutOfMemory) {
		r.proxy.SetFailing(notStarting(err.Reason))
	}
	r.p.opts.Log("deploy: an instance of %s did not come up: %v; next try in %s", r.name, err, backOff(r.failures))
}

// notStarting is what people who ask for an app are told while it does not start. The app's log knows nothing of what is the server's own.
func notStarting(why deploy.StartReason) string {
	switch why {
	case deploy.RuntimeError, deploy.NoRoom:
		return "cannot be started: the server's log says why; tell its operator"
	case deploy.ImageError:
		return "cannot be started, since its image cannot be had: its owner can push it again"
	}
	return "does not start: its log says why; tell its owner"
}

// close ends the revision: its workers are told to end, requests that are in flight go to their end, then the instances go.
func (r *revision) close(ctx context.Context) error {
	deadline := time.Now().Add(r.p.opts.DrainTimeout)
	r.mu.Lock()
	r.gone, r.drainBy = true, deadline
	r.tell(fmt.Errorf("revision %s was deleted: %w", r.name, deploy.ErrNotFound))
	for _, in := range r.instances {
		if in.state == starting { // nobody uses it; requests that wait end with it
			in.cancel()
		}
	}
	if ready, _ := r.count(); ready == 0 {
		r.proxy.SetFailing("was removed")
	}
	workers := slices.Collect(maps.Keys(r.workers))
	for _, w := range workers {
		w.cancel()
	}
	r.mu.Unlock()
	r.stop()
	<-r.stopped
	drain, cancel := context.WithDeadline(ctx, deadline)
	_ = r.proxy.Close(drain) // what is in flight after the time is broken off
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
