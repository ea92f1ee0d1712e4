package process

import (
	"maps"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// countEvery is the pause between two messages with counts.
const countEvery = time.Second

// mostWaiting is how many messages may wait for a gitd that does not read, until counts are left for later.
const mostWaiting = 100

// sign is what tells whether a revision's counts have changed.
type sign struct {
	requests       float64
	inflight, held int64
	open           int64 // requests and connections of its instances
}

// untold is the sign of a revision of which gitd was told nothing.
var untold = sign{requests: -1}

// count tells gitd each second what was counted, while there is something that counts.
func (p *Process) count() {
	t := time.NewTicker(countEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-p.ended:
			return
		}
		p.mu.Lock()
		if l := p.link; l != nil && l.Waiting() < mostWaiting {
			if c := p.counts(); len(c.Revisions) > 0 || p.running() {
				l.Tell(wire.KindCounts, c)
			}
		}
		p.mu.Unlock()
	}
}

// running reports whether there is an instance, whose counts gitd wants to be of now. It is called with mu held, as all that follows.
func (p *Process) running() bool {
	for _, r := range p.revisions {
		if len(r.instances) > 0 {
			return true
		}
	}
	return false
}

// counts returns what has changed since the counts before. What a thousand apps at zero have counted is not said again each time that one is looked at.
func (p *Process) counts() *wire.Counts {
	now := time.Now()
	c := &wire.Counts{At: time.Duration(wire.Monotonic()), Revisions: map[string]*wire.Revisioned{}, Refused: maps.Clone(p.refused)}
	for name, n := range p.plane.Load().Refused() {
		c.Refused[name] += n
	}
	c.Open, c.Turned = p.seen.Counts()
	for key, r := range p.revisions {
		report := r.Report(now)
		r.busy += report.AverageConcurrency * now.Sub(r.reported).Seconds()
		r.requests += report.RequestCount
		r.reported = now
		if told := r.sign(); told != r.told || told.inflight > 0 {
			r.told = told
			c.Revisions[key] = r.counted()
		}
	}
	return c
}

func (r *revision) sign() sign {
	s := sign{requests: r.requests, inflight: r.InFlight(), held: r.Held()}
	for _, in := range r.instances {
		s.open += in.InFlight() + in.Sockets()
	}
	return s
}

// counted is what a revision has counted.
func (r *revision) counted() *wire.Revisioned {
	m := r.Metrics()
	_, latency := r.Counts()
	c := &wire.Revisioned{Busy: r.busy, Requests: r.requests, InFlight: m.InFlight, Held: m.Held, Classes: m.Classes, Duration: m.Duration, Hold: m.Hold, Cold: m.Cold}
	for _, l := range latency {
		c.Latency = append(c.Latency, wire.Count{UpTo: l.UpTo, N: l.N})
	}
	for id, in := range r.instances {
		if c.Instances == nil {
			c.Instances = map[string]wire.Instanced{}
		}
		c.Instances[id] = wire.Instanced{InFlight: in.InFlight(), Sockets: in.Sockets()}
	}
	return c
}
