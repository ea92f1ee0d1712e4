package telemetry

import (
	"context"
	"math"
	"sync"
)

// Metrics are all that gitd counts. Its parts are handed to the packages that count.
type Metrics struct {
	SSH      SSH
	Releases Releases
	Builds   Builds
	Jobs     Jobs
	Events   Events
	Requests Requests
	Runtime  Runtime
	Host     Host
	Traces   Traces

	registry registry

	mu      sync.Mutex // mu guards the following
	scrapes []func(ctx context.Context, s *Scrape)
}

// NewMetrics returns Metrics that have counted nothing.
func NewMetrics() *Metrics {
	m := &Metrics{}
	r := &m.registry
	m.SSH, m.Releases, m.Builds, m.Jobs = newSSH(r), newReleases(r), newBuilds(r), newJobs(r)
	m.Events = newEvents(r)
	m.Requests, m.Host, m.Traces, m.Runtime = newRequests(r), newHost(r), newTraces(r), newRuntime(r)
	m.OnScrape(m.Runtime.scrape)
	return m
}

// OnScrape has f asked for samples at each scrape. f is called by one scrape at a time.
func (m *Metrics) OnScrape(f func(ctx context.Context, s *Scrape)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scrapes = append(m.scrapes, f)
}

// Forget removes the series of an app that is no more.
func (m *Metrics) Forget(service string) {
	if m == nil {
		return
	}
	for _, f := range m.registry.families {
		if f.series != nil {
			f.series.forget(service)
		}
	}
}

// All returns the declarations of all metrics, in their order.
func (m *Metrics) All() []Metric {
	var all []Metric
	for _, f := range m.registry.families {
		all = append(all, *f.Metric)
	}
	return all
}

// collected is a metric with its samples at one scrape.
type collected struct {
	*Metric
	samples []Sample
}

// collect asks for all samples.
func (m *Metrics) collect(ctx context.Context) (all []collected) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &Scrape{samples: map[*Metric][]Sample{}}
	for _, f := range m.scrapes {
		f(ctx, s)
	}
	for _, f := range m.registry.families {
		samples := bounded(f.Metric, s.samples[f.Metric])
		if f.series != nil {
			samples = f.series.samples()
		}
		if len(samples) > 0 {
			all = append(all, collected{f.Metric, samples})
		}
	}
	return all
}

func exp2(i int) float64 { return math.Ldexp(1, i) }
