package dataplane

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	netstats "knative.dev/networking/pkg/http/stats"
	"knative.dev/serving/pkg/queue"
)

// queueDepth is how many requests of a revision may wait for an instance or for a slot on one.
const queueDepth = 10000

// RevisionOptions configure a Revision.
type RevisionOptions struct {
	App         string        // its name, for people; "" for none
	Name        string        // of the revision, for the cookie of a split that is sticky
	Concurrency int           // requests that an instance takes at once; 0 for no limit
	Timeout     time.Duration // until the response must have begun, waiting for an instance included; 0 for none
	Wake        func()        // called when a request comes in and there is no instance; must not block
	HTTP1       bool          // it speaks HTTP/1, and is not probed for HTTP/2
	H2C         bool          // it was found to speak only HTTP/2 with prior knowledge
	Learned     func()        // called when that is found; may be nil
	NoWeb       bool          // it has no process that takes requests: they are answered with 404
}

// title is the app's name in a refusal.
func (o *RevisionOptions) title() string {
	if o.App == "" {
		return "the app"
	}
	return "the app " + o.App
}

// Revision is one revision as seen by the proxy: its ready instances, and the queue in front of them.
type Revision struct {
	opts     RevisionOptions
	slots    int64          // per instance; 0 for no limit
	breaker  *queue.Breaker // hands out the slots; nil where there is no limit
	waiting  atomic.Int64   // requests for an instance, where there is no breaker to count them
	stats    *netstats.RequestStats
	counters counters
	draws    atomic.Uint64 // of the splits that begin with it

	protocol  protocol
	netHTTP   bool // requests go by net/http's client alone: tests compare the two ways
	instances atomic.Pointer[[]*Instance]
	failing   atomic.Pointer[string]

	refs   atomic.Int64 // requests that hold the revision, and the closing bit
	closed chan struct{}
	once   sync.Once

	mu sync.Mutex // mu guards the following

	changed chan struct{} // closed and replaced when instances or failing change
}

// NewRevision returns a Revision without instances.
func NewRevision(o RevisionOptions, now time.Time) *Revision {
	r := &Revision{opts: o, slots: int64(o.Concurrency), stats: netstats.NewRequestStats(now),
		changed: make(chan struct{}), closed: make(chan struct{})}
	if r.slots > 0 { // its queue holds a channel's element for each slot that may be free at once
		r.breaker = queue.NewBreaker(queue.BreakerParams{QueueDepth: queueDepth, MaxConcurrency: 10000})
	}
	if o.H2C {
		r.protocol.speaks.Store(speaksH2C)
	}
	r.instances.Store(new([]*Instance))
	return r
}

// SetInstances publishes the ready instances. Requests at other instances finish there.
func (r *Revision) SetInstances(ready []*Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := append([]*Instance(nil), ready...)
	r.instances.Store(&list)
	if len(list) > 0 {
		r.failing.Store(nil)
		r.counters.started()
	}
	if r.breaker != nil {
		r.breaker.UpdateConcurrency(len(list) * int(r.slots))
	}
	r.announce()
}

// SetFailing answers waiting and new requests with 503 and the sentence, which follows the app's name, until there are instances again. It is for a
// revision whose instances keep failing to start.
func (r *Revision) SetFailing(sentence string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(*r.instances.Load()) == 0 {
		r.failing.Store(&sentence)
		r.announce()
	}
}

// ClearFailing lets requests wait again.
func (r *Revision) ClearFailing() {
	r.failing.Store(nil)
}

func (r *Revision) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of the instances or of the failing state.
func (r *Revision) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// InFlight is how many requests the revision has, waiting ones included.
func (r *Revision) InFlight() int64 { return r.refs.Load() &^ closing }

// Report returns the average concurrency and the number of requests since the last report.
func (r *Revision) Report(now time.Time) netstats.RequestStatsReport { return r.stats.Report(now) }

const closing = int64(1) << 62

func (r *Revision) hold() bool {
	if r.refs.Add(1)&closing != 0 {
		r.release()
		return false
	}
	return true
}

func (r *Revision) release() {
	if r.refs.Add(-1) == closing {
		r.once.Do(func() { close(r.closed) })
	}
}

// Close refuses new requests, which makes the Plane look at its table again, and waits for those that are in.
func (r *Revision) Close(ctx context.Context) error {
	for {
		refs := r.refs.Load()
		if refs&closing != 0 {
			break
		}
		if r.refs.CompareAndSwap(refs, refs|closing) {
			if refs == 0 {
				r.once.Do(func() { close(r.closed) })
			}
			break
		}
	}
	select {
	case <-r.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failingError ends requests that wait for instances which do not start.
type failingError struct{ sentence string }

func (e *failingError) Error() string { return e.sentence }

// pick takes a slot on the less busy of two random instances, or on any that has one. It waits while all are full.
func (r *Revision) pick(ctx context.Context, not *Instance) (*Instance, error) {
	var held func()
	for {
		list := *r.instances.Load()
		if in := r.try(list, not); in != nil {
			return in, nil
		}
		if len(list) == 0 {
			wait := r.Changed()
			if len(*r.instances.Load()) > 0 {
				continue
			}
			if f := r.failing.Load(); f != nil {
				return nil, &failingError{*f}
			}
			if r.waiting.Add(1) > queueDepth {
				r.waiting.Add(-1)
				return nil, queue.ErrRequestQueueFull
			}
			if held == nil {
				held = r.counters.holds(true)
				defer held()
			}
			r.wake()
			select {
			case <-wait:
				r.waiting.Add(-1)
			case <-ctx.Done():
				r.waiting.Add(-1)
				return nil, context.Cause(ctx)
			}
			continue
		}
		// All are full for a moment: an instance was taken out while its requests still hold slots of the breaker.
		not = nil
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *Revision) try(list []*Instance, not *Instance) *Instance {
	if n := len(list); n > 2 || n == 2 && not == nil {
		a, b := rand.IntN(n), rand.IntN(n-1)
		if b >= a {
			b++
		}
		best := list[a]
		if list[b].lessBusy(best) {
			best = list[b]
		}
		if best != not && r.take(best) {
			return best
		}
	}
	var best *Instance
	for _, in := range list {
		if (in != not || len(list) == 1) && (best == nil || in.lessBusy(best)) {
			best = in
		}
	}
	if best != nil && r.take(best) {
		return best
	}
	return nil
}

func (r *Revision) take(in *Instance) bool {
	if in.inflight.Add(1) <= r.slots || r.slots == 0 {
		return true
	}
	in.inflight.Add(-1)
	return false
}

func (r *Revision) wake() {
	if r.opts.Wake != nil {
		r.opts.Wake()
	}
}

func (r *Revision) serve(w http.ResponseWriter, q *http.Request, trusted, tally bool) {
	if r.opts.NoWeb {
		refuse(w, q, http.StatusNotFound, r.opts.title()+" takes no requests: it has workers, and no web process")
		return
	}
	start := time.Now()
	r.stats.HandleEvent(netstats.ReqEvent{Time: start, Type: netstats.ReqIn})
	x := &exchange{revision: r, began: start, deadline: r.deadline(start), trusted: trusted, tally: tally, counted: true}
	defer x.done()
	if r.breaker != nil {
		release, ok := r.breaker.Reserve(q.Context())
		if !ok {
			var err error
			if release, err = r.wait(q.Context(), x.deadline); err != nil {
				x.fail(w, q, err)
				return
			}
		}
		x.slot = release
	}
	x.serve(w, q)
}

func (r *Revision) deadline(start time.Time) time.Time {
	if r.opts.Timeout == 0 {
		return time.Time{}
	}
	return start.Add(r.opts.Timeout)
}

// wait returns when the breaker has a slot, with the function that gives it back. It gives up at the deadline, and when the instances
// keep failing to start.
func (r *Revision) wait(ctx context.Context, deadline time.Time) (release func(), err error) {
	defer r.counters.holds(len(*r.instances.Load()) == 0)()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !deadline.IsZero() {
		t := time.AfterFunc(time.Until(deadline), func() { cancel(errTimeout) })
		defer t.Stop()
	}
	taken, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- r.breaker.Maybe(ctx, func() {
			close(taken)
			<-done
		})
	}()
	for {
		changed := r.Changed()
		if len(*r.instances.Load()) == 0 { // also after a change that left it without
			if f := r.failing.Load(); f != nil {
				cancel(&failingError{*f})
			}
			r.wake()
		}
		select {
		case <-taken:
			return sync.OnceFunc(func() { close(done) }), nil
		case err := <-ended:
			if cause := context.Cause(ctx); cause != nil {
				return nil, cause
			}
			return nil, err
		case <-changed:
		}
	}
}
