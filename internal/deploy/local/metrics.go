package local

import (
	"context"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/telemetry"
	"github.com/gitd-io/gitd/internal/telemetry/histogram"
)

// classes are the classes of statuses as metrics have them.
var classes = [6]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

// counts is what a revision counts of its instances of one process type.
type counts struct {
	ready       histogram.Histogram // how long starts took that made an instance ready
	failed      int64               // starts that did not
	ended       int64               // instances that ended by themselves
	outOfMemory int64               // of them, those that were killed at their limit
}

// noteEnd counts an instance that ended by itself; the caller holds what guards the counts.
func (c *counts) noteEnd(why *deploy.StartError) {
	c.ended++
	if why.Reason == deploy.OutOfMemory {
		c.outOfMemory++
	}
}

// Scrape adds what is known of requests and instances.
func (p *Platform) Scrape(_ context.Context, s *telemetry.Scrape, m telemetry.Requests) {
	p.proxy.Refresh()
	for reason, n := range p.proxy.Refused() {
		s.Add(m.Refused, float64(n), reason)
	}
	s.Add(m.Prepared, float64(p.prepared()))
	for _, r := range p.revisions() {
		if !r.noWeb {
			r.scrapeRequests(s, m)
		}
		r.scrapeStarts(s, m)
		r.scrapeInstances(s, m)
	}
}

// scrapeRequests adds what the data plane knows.
func (r *revision) scrapeRequests(s *telemetry.Scrape, m telemetry.Requests) {
	of := []string{r.service, r.name, deploy.WebProcess}
	v := r.proxy.Metrics()
	for i, n := range v.Classes {
		if n > 0 || classes[i] == "2xx" || classes[i] == "5xx" { // the two that are always asked for
			s.Add(m.Answered, float64(n), r.service, r.name, deploy.WebProcess, classes[i])
		}
	}
	s.AddHistogram(m.Duration, v.Duration, of...)
	s.Add(m.InFlight, float64(v.InFlight), of...)
	s.Add(m.Held, float64(v.Held), of...)
	s.AddHistogram(m.Hold, v.Hold, of...)
	s.Add(m.ColdStarts, float64(v.Cold.Count), of...)
	s.AddHistogram(m.ColdDuration, v.Cold, of...)
}

// scrapeStarts adds what became of instances.
func (r *revision) scrapeStarts(s *telemetry.Scrape, m telemetry.Requests) {
	r.counting.Lock()
	defer r.counting.Unlock()
	for process, c := range r.counts {
		of := []string{r.service, r.name, process}
		ready := c.ready.Value()
		s.AddHistogram(m.StartDuration, ready, of...)
		s.Add(m.Starts, float64(ready.Count), r.service, r.name, process, "ok")
		s.Add(m.Starts, float64(c.failed), r.service, r.name, process, "failed")
		s.Add(m.Restarts, float64(c.ended), of...)
		s.Add(m.OutOfMemory, float64(c.outOfMemory), of...)
	}
}

// scrapeInstances adds what instances there are, and what memory they use.
func (r *revision) scrapeInstances(s *telemetry.Scrape, m telemetry.Requests) {
	all := r.webInstances()
	r.mu.Lock()
	workers := make([]*worker, 0, len(r.workers))
	for w := range r.workers {
		workers = append(workers, w)
	}
	r.mu.Unlock()
	for _, w := range workers {
		if w.ctx.Err() == nil {
			all = append(all, w.running())
		}
	}
	states := map[[2]string]int{}
	memory := map[string]int64{}
	if !r.noWeb { // an app at zero has 0 that are up, and not no value
		states[[2]string{deploy.WebProcess, string(deploy.InstanceUp)}] = 0
	}
	for _, in := range all {
		states[[2]string{in.Type, string(in.State)}]++
		if in.container != nil {
			if u, ok := in.container.Usage(); ok {
				memory[in.Type] += u.Memory
			}
		}
	}
	for k, n := range states {
		s.Add(m.Instances, float64(n), r.service, r.name, k[0], k[1])
	}
	for process, bytes := range memory {
		s.Add(m.Memory, float64(bytes), r.service, r.name, process)
	}
}

// counted calls do with the counts of a process type.
func (r *revision) counted(process string, do func(c *counts)) {
	r.counting.Lock()
	defer r.counting.Unlock()
	if r.counts == nil {
		r.counts = map[string]*counts{}
	}
	if r.counts[process] == nil {
		r.counts[process] = &counts{}
	}
	do(r.counts[process])
}
