package server

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// metrics are what the parts count with; where nothing is counted, the zero value.
func (o *Options) metrics() *telemetry.Metrics { return cmp.Or(o.Metrics, &telemetry.Metrics{}) }

// scraper is a runner that knows of requests and instances.
type scraper interface {
	scrape(ctx context.Context, s *telemetry.Scrape, m telemetry.Requests)
}

func (m *machine) scrape(ctx context.Context, s *telemetry.Scrape, to telemetry.Requests) {
	m.local.Scrape(ctx, s, to)
	open, refused := m.local.Connections()
	s.Add(to.Connections, float64(open))
	s.Add(to.Refused, float64(refused), "limit")
}

// onScrape has the metrics ask for what is known without counting.
func (s *Server) onScrape() {
	m := s.o.Metrics
	if m == nil {
		return
	}
	if r, ok := s.runner.(scraper); ok {
		m.OnScrape(func(ctx context.Context, to *telemetry.Scrape) { r.scrape(ctx, to, m.Requests) })
	}
	m.OnScrape(func(ctx context.Context, to *telemetry.Scrape) {
		s.scrapeHost(to, m.Host)
		s.scrapeLedger(ctx, to)
	})
}

// scrapeHost adds what the disk has.
func (s *Server) scrapeHost(to *telemetry.Scrape, m telemetry.Host) {
	data := s.o.Config.Server.Data
	if free, err := disk.Free(data); err == nil {
		to.Add(m.Free, float64(free.Bytes))
		if free.Entries >= 0 {
			to.Add(m.Inodes, float64(free.Entries))
		}
	}
	var fs unix.Statfs_t
	if unix.Statfs(data, &fs) == nil {
		to.Add(m.Size, float64(fs.Blocks)*float64(fs.Bsize))
	}
	if s.domains != nil {
		until, failed := s.domains.Expiries()
		for name, at := range until {
			to.Add(m.Certificates, float64(at.Unix()), name)
			if !slices.Contains(failed, name) {
				to.Add(m.Failing, 0, name)
			}
		}
		for _, name := range failed {
			to.Add(m.Failing, 1, name)
		}
	}
	s.data.each(func(part string, bytes int64) { to.Add(m.Data, float64(bytes), part) })
}

// scrapeLedger adds what the ledger and the parts that Start has begun know.
func (s *Server) scrapeLedger(ctx context.Context, to *telemetry.Scrape) {
	m := s.o.Metrics
	apps, err := s.store.Apps(ctx)
	if err != nil {
		s.o.Log("metrics: %v", err)
		return
	}
	to.Add(m.Releases.Apps, float64(len(apps)))
	live, err := s.store.LiveCommits(ctx)
	if err != nil {
		s.o.Log("metrics: %v", err)
		return
	}
	for _, l := range live {
		to.Add(m.Releases.Live, float64(l.Version), l.App.Name)
	}
	open, err := s.store.Unfinished(ctx)
	if err != nil {
		s.o.Log("metrics: %v", err)
		return
	}
	states := map[string]int{"building": 0, "starting": 0}
	for _, r := range open {
		states[string(r.State)]++
	}
	for state, n := range states {
		to.Add(m.Releases.Active, float64(n), state)
	}
	if jobs, err := s.store.JobsUnderWay(ctx); err == nil {
		to.Add(m.Jobs.Running, float64(len(jobs)))
	}
	succeeded, err := s.store.Succeeded(ctx)
	if err != nil {
		s.o.Log("metrics: %v", err)
	}
	for _, j := range succeeded {
		to.Add(m.Jobs.Success, float64(j.Ended.UnixMilli())/1000, j.App, j.Schedule)
	}
	select {
	case <-s.started:
		running, waiting := s.queue.Length()
		to.Add(m.Builds.Running, float64(running))
		to.Add(m.Builds.Queue, float64(waiting))
		to.Add(m.SSH.Open, float64(s.ssh.Connections()))
	default:
	}
}

// measured is what the parts of the data directory took when they were measured last.
type measured struct {
	mu    sync.Mutex // mu guards the following
	bytes map[string]int64
}

func (m *measured) each(do func(part string, bytes int64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for part, bytes := range m.bytes {
		do(part, bytes)
	}
}

// measuredParts are the folders of the data directory whose size is told.
var measuredParts = []string{"repositories", "registry", "builds", "layers", "platform", "logs"}

// measureEvery is the pause after the data directory was measured; where that takes long, measurePause times what it took.
const (
	measureEvery = 5 * time.Minute
	measurePause = 50
)

// measureOften measures the data directory now and then: it reads all of it, which no scrape waits for.
func (s *Server) measureOften(ctx context.Context) {
	for {
		began := time.Now()
		sizes := map[string]int64{}
		for _, part := range measuredParts {
			sizes[part] = disk.Measure(ctx, s.path(part)).Bytes
		}
		if ctx.Err() != nil {
			return
		}
		s.data.mu.Lock()
		s.data.bytes = sizes
		s.data.mu.Unlock()
		select {
		case <-time.After(max(measureEvery, measurePause*time.Since(began))):
		case <-ctx.Done():
			return
		}
	}
}
