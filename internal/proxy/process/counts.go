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
			if c := p.counts(false); c != nil {
				l.Tell(wire.KindCounts, c)
			}
		}
		p.mu.Unlock()
	}
}

// counts returns what has changed, or all; nil where nothing is running and nothing has changed. It is called with mu held.
func (p *Process) counts(all bool) *wire.Counts {
	now := time.Now()
	c := &wire.Counts{At: time.Duration(wire.Monotonic()), Revisions: map[string]*wire.Revisioned{}, Refused: maps.Clone(p.refused)}
	for name, n := range p.plane.Load().Refused() {
		c.Refused[name] += n
	}
	c.Open, c.Turned = p.seen.Counts()
	running := false
	for key, r := range p.revisions {
		report := r.Report(now)
		r.busy += report.AverageConcurrency * now.Sub(r.reported).Seconds()
		r.requests += report.RequestCount
		r.reported = now
		running = running || len(r.instances) > 0
		if told := r.sign(); all || told != r.told || told.inflight > 0 {
			r.told = told
			c.Revisions[key] = r.counted()
		}
	}
	if !all && !running && len(c.Revisions) == 0 {
		return nil
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
