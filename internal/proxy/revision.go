package proxy

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"time"

	netstats "knative.dev/networking/pkg/http/stats"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
	"github.com/gitd-io/gitd/internal/telemetry/histogram"
)

// RevisionOptions configure a Revision. Wake and Learned are called when the proxy tells of it.
type RevisionOptions = dataplane.RevisionOptions

// Metrics are what is known of a revision's requests; Count the answers within a bound of latency.
type (
	Metrics = dataplane.Metrics
	Count   = dataplane.Count
)

// Revision is one revision as the proxy is told of it, and what it tells.
type Revision struct {
	p   *Proxy
	key string
	o   RevisionOptions

	// The Proxy's mu guards the following.
	instances []*Instance // that take requests
	failing   string
	closed    bool
	now       *wire.Revisioned // by the proxy that there is; nil for nothing yet
	before    wire.Revisioned  // by proxies that have ended
	undo      wire.Revisioned  // before, as it was until the last one had ended
	reported  report
}

// report is what the last Report said, and what it was made of.
type report struct {
	at             time.Duration // the proxy's clock
	asked          time.Time
	busy, requests float64
	concurrency    float64
	rate           float64 // requests a second
}

// NewRevision returns a Revision without instances. The key names it, in this process and in those to come.
func (p *Proxy) NewRevision(key string, o RevisionOptions) *Revision {
	r := &Revision{p: p, key: key, o: o, reported: report{at: time.Duration(wire.Monotonic()), asked: time.Now()}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revisions[r], p.keys[key] = struct{}{}, r
	for _, l := range p.links() {
		l.Tell(wire.KindRevision, r.wire())
	}
	return r
}

func (r *Revision) wire() wire.Revision {
	return wire.Revision{Key: r.key, App: r.o.App, Name: r.o.Name, Concurrency: r.o.Concurrency, Timeout: r.o.Timeout, HTTP1: r.o.HTTP1, H2C: r.o.H2C, NoWeb: r.o.NoWeb}
}

// SetInstances publishes the ready instances. Requests at other instances finish there.
func (r *Revision) SetInstances(ready []*Instance) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	before := r.instances
	r.instances = slices.Clone(ready)
	if len(ready) > 0 {
		r.failing = ""
	}
	all := r.p.links()
	for _, in := range before {
		if !slices.Contains(ready, in) {
			in.leaving = slices.Clone(all)
			for _, l := range r.p.deaf {
				if l.known[in] {
					in.leaving = append(in.leaving, l)
				}
			}
		}
	}
	for _, l := range all {
		l.tellInstances(r)
	}
}

// SetFailing answers waiting and new requests with 503 and the sentence, which follows the app's name, until there are instances again. It is for a
// revision whose instances keep failing to start.
func (r *Revision) SetFailing(sentence string) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if len(r.instances) == 0 {
		r.fail(sentence)
	}
}

// ClearFailing lets requests wait again.
func (r *Revision) ClearFailing() {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.fail("")
}

func (r *Revision) fail(sentence string) {
	if r.failing == sentence {
		return
	}
	r.failing = sentence
	for _, l := range r.p.links() {
		l.Tell(wire.KindFailing, wire.Failing{Key: r.key, Sentence: sentence})
	}
}

// InFlight is how many requests the revision has, waiting ones included, as far as the proxy has told: it tells at once when the first one comes to a revision without
// instances, and otherwise each second.
func (r *Revision) InFlight() int64 {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.total().InFlight
}

// total is all that was counted. It is called with mu held.
func (r *Revision) total() wire.Revisioned {
	all := plus(r.before, r.now)
	for _, l := range r.p.leaving {
		if c := l.counts[r.key]; c != nil {
			inflight, held := all.InFlight+c.InFlight, all.Held+c.Held
			all = plus(all, c)
			all.InFlight, all.Held = inflight, held
		}
	}
	return all
}

// Drained waits until the revision has no request, for which it asks the proxy.
func (r *Revision) Drained(ctx context.Context) error {
	r.p.ask(ctx, wire.KindDrain, wire.Asked{Key: r.key})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Close refuses new requests, which makes the proxy look at its table again, and waits for those that are in.
func (r *Revision) Close(ctx context.Context) error {
	r.p.mu.Lock()
	r.closed = true
	delete(r.p.revisions, r) // keys keep it: the proxy still tells of its instances
	r.p.mu.Unlock()
	r.p.ask(ctx, wire.KindClose, wire.Asked{Key: r.key})
	r.p.mu.Lock()
	r.p.tidy(r)
	r.p.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Report returns the average concurrency and the number of requests since the last report. What the proxy has told covers another time than that: its average is taken for that of
// the time since.
func (r *Revision) Report(now time.Time) netstats.RequestStatsReport {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	last, l := &r.reported, r.p.link
	since := now.Sub(last.asked).Seconds()
	last.asked = now
	if l == nil {
		last.concurrency, last.rate = 0, 0
		return netstats.RequestStatsReport{}
	}
	c := r.total()
	switch seconds := (l.at - last.at).Seconds(); {
	case since > reportAfresh: // what was before does not count
		last.at, last.concurrency, last.rate = time.Duration(wire.Monotonic()), 0, 0
	case seconds > 0:
		last.at, last.concurrency, last.rate = l.at, max(0, c.Busy-last.busy)/seconds, max(0, c.Requests-last.requests)/seconds
	default:
		return netstats.RequestStatsReport{AverageConcurrency: last.concurrency, RequestCount: last.rate * max(0, since)}
	}
	last.busy, last.requests = c.Busy, c.Requests
	return netstats.RequestStatsReport{AverageConcurrency: last.concurrency, RequestCount: last.rate * max(0, since)}
}

// reportAfresh is how many seconds after the last one a report begins afresh: nothing was to be decided meanwhile.
const reportAfresh = 3

// counts are all that was counted.
func (r *Revision) counts() wire.Revisioned {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.total()
}

// Counts returns how many requests the revision has answered, by hundreds of the status (0 for any other than those of HTTP), and by latency.
func (r *Revision) Counts() (classes [6]int64, latency []Count) {
	c := r.counts()
	for _, l := range c.Latency {
		latency = append(latency, Count{UpTo: l.UpTo, N: l.N})
	}
	return c.Classes, latency
}

// Metrics returns what is known of the revision's requests.
func (r *Revision) Metrics() Metrics {
	c := r.counts()
	return Metrics{Classes: c.Classes, Duration: c.Duration, InFlight: c.InFlight, Held: c.Held, Hold: c.Hold, Cold: c.Cold}
}

// Way is how the proxy reaches an instance: a port in a network namespace, and the instance's outward address there.
type Way struct {
	Space   *os.File // nil: that of the proxy
	Address netip.Addr
	Port    int
}

// Instance is one running copy of a revision.
type Instance struct {
	id  string
	r   *Revision
	h2c bool
	way Way

	// The Proxy's mu guards the following.
	leaving []*link // the proxies that it was taken from, and which have not told yet that it has no request any more
	now     wire.Instanced
}

// NewInstance returns an instance of the revision. With h2c it is spoken to in HTTP/2 with prior knowledge; without, in the protocol that its revision turns out to speak.
func (r *Revision) NewInstance(id string, h2c bool, way Way) *Instance {
	return &Instance{id: id, r: r, h2c: h2c, way: way}
}

// InFlight is how many requests and upgraded connections the instance has, as the proxy has told each second. Of one that was taken out it is 0 only when the proxy has told
// that it has none.
func (i *Instance) InFlight() int64 {
	i.r.p.mu.Lock()
	defer i.r.p.mu.Unlock()
	n := i.total().InFlight
	if len(i.leaving) > 0 {
		return max(1, n)
	}
	return n
}

// left notes that a proxy has no request at the instance any more. It is called with mu held, as total is.
func (i *Instance) left(l *link) {
	i.leaving = slices.DeleteFunc(i.leaving, func(o *link) bool { return o == l })
}

func (i *Instance) total() wire.Instanced {
	all := i.now
	for _, l := range i.r.p.leaving {
		if c := l.counts[i.r.key]; c != nil {
			here := c.Instances[i.id]
			all.InFlight += here.InFlight
			all.Sockets += here.Sockets
		}
	}
	return all
}

// Sockets is how many upgraded connections (WebSockets) the instance has, as the proxy has told.
func (i *Instance) Sockets() int64 {
	i.r.p.mu.Lock()
	defer i.r.p.mu.Unlock()
	return i.total().Sockets
}

// Close forgets the instance, which has ended.
func (i *Instance) Close() {
	p := i.r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	i.leaving = nil
	i.r.instances = slices.DeleteFunc(i.r.instances, func(o *Instance) bool { return o == i })
	for _, l := range p.links() {
		delete(l.known, i)
		l.Tell(wire.KindDropped, wire.Dropped{Key: i.r.key, ID: i.id})
	}
	p.tidy(i.r)
}

// tidy forgets a revision that is closed and has no instances. It is called with mu held.
func (p *Proxy) tidy(r *Revision) {
	if !r.closed || p.keys[r.key] != r {
		return
	}
	for _, l := range p.links() {
		for in := range l.known {
			if in.r == r {
				return
			}
		}
	}
	delete(p.keys, r.key)
}

// plus adds what another proxy has counted; those of requests under way are of the other one alone.
func plus(a wire.Revisioned, b *wire.Revisioned) wire.Revisioned {
	a.InFlight, a.Held, a.Instances = 0, 0, nil
	if b == nil {
		return a
	}
	a.InFlight, a.Held = b.InFlight, b.Held
	a.Busy += b.Busy
	a.Requests += b.Requests
	for i, n := range b.Classes {
		a.Classes[i] += n
	}
	if len(a.Latency) == 0 {
		a.Latency = b.Latency
	} else {
		a.Latency = slices.Clone(a.Latency)
		for i, l := range b.Latency {
			if i < len(a.Latency) {
				a.Latency[i].N += l.N
			}
		}
	}
	for to, from := range map[*histogram.Value]histogram.Value{&a.Duration: b.Duration, &a.Hold: b.Hold, &a.Cold: b.Cold} {
		if from.Count > 0 {
			*to = to.Plus(from)
		}
	}
	return a
}
