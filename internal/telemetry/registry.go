package telemetry

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/telemetry/histogram"
)

// Type is what a metric is.
type Type string

// The types of metrics.
const (
	TypeCounter   Type = "counter"
	TypeGauge     Type = "gauge"
	TypeHistogram Type = "histogram"
)

// maxSeries is how many series a metric has before the others are counted together.
const maxSeries = 2000

// Metric is a metric with its labels. It is declared once, when Metrics are made.
type Metric struct {
	Name   string
	Help   string
	Type   Type
	Labels []string
	Bounds []float64 // of a histogram's classic buckets: powers of two, in seconds
}

// Sample is the value of one series.
type Sample struct {
	Labels    []string // values, in the order of the Metric's
	Value     float64
	Histogram histogram.Value // of a histogram, instead of Value
}

// registry has all metrics.
type registry struct {
	families []family
}

// family is a metric with what keeps its series.
type family struct {
	*Metric
	series series // nil for one that is asked for at a scrape
}

// series are those of a metric that is counted.
type series interface {
	samples() []Sample
	forget(service string)
}

func (r *registry) declare(t Type, name, help string, labels []string) *Metric {
	m := &Metric{Name: name, Help: help, Type: t, Labels: labels}
	r.families = append(r.families, family{Metric: m})
	return m
}

// counter declares a counter.
func (r *registry) counter(name, help string, labels ...string) *Counter {
	c := &Counter{}
	c.metric = r.declare(TypeCounter, name, help, labels)
	r.families[len(r.families)-1].series = c
	return c
}

// histogram declares a histogram of durations whose classic buckets end at powers of two seconds, from 2^least to 2^most.
func (r *registry) histogram(name, help string, least, most int, labels ...string) *Histogram {
	h := &Histogram{}
	h.metric = r.declare(TypeHistogram, name, help, labels)
	h.metric.bounded(least, most)
	r.families[len(r.families)-1].series = h
	return h
}

func (m *Metric) bounded(least, most int) {
	for i := least; i <= most; i++ {
		m.Bounds = append(m.Bounds, exp2(i))
	}
}

// gauge declares a metric whose samples are asked for at a scrape. It may be a counter: where something else counts.
func (r *registry) gauge(t Type, name, help string, labels ...string) *Metric {
	return r.declare(t, name, help, labels)
}

// table keeps the cells of a metric by their labels.
type table[T any] struct {
	metric *Metric

	mu    sync.RWMutex // mu guards the following
	cells map[string]*T
}

// key is what series are told apart by. No label has the separator: labels are printable.
func key(labels []string) string { return strings.Join(labels, "\xff") }

// cell returns the cell of a series, or that of the overflow.
func (t *table[T]) cell(labels []string) *T {
	if len(labels) != len(t.metric.Labels) {
		panic(t.metric.Name + " is counted with another number of labels")
	}
	k := key(labels)
	t.mu.RLock()
	c := t.cells[k]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cells == nil {
		t.cells = map[string]*T{}
	}
	others := key(slices.Repeat([]string{Overflow}, len(labels)))
	most := maxSeries
	if t.cells[others] != nil {
		most++
	}
	if len(t.cells) >= most && t.cells[k] == nil {
		k = others
	}
	if t.cells[k] == nil {
		t.cells[k] = new(T)
	}
	return t.cells[k]
}

// each calls do with each series, in the order of their labels.
func (t *table[T]) each(do func(labels []string, cell *T)) {
	t.mu.RLock()
	all := make([]string, 0, len(t.cells))
	cells := make(map[string]*T, len(t.cells))
	for k, c := range t.cells {
		all = append(all, k)
		cells[k] = c
	}
	t.mu.RUnlock()
	slices.Sort(all)
	for _, k := range all {
		labels := strings.Split(k, "\xff")
		if len(t.metric.Labels) == 0 {
			labels = nil
		}
		do(labels, cells[k])
	}
}

// forget removes the series of an app.
func (t *table[T]) forget(service string) {
	if len(t.metric.Labels) == 0 || t.metric.Labels[0] != Service {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.cells {
		if of, _, _ := strings.Cut(k, "\xff"); of == service {
			delete(t.cells, k)
		}
	}
}

// Counter counts. A nil Counter counts nothing.
type Counter struct{ table[atomic.Int64] }

// Inc counts one for the series with these labels.
func (c *Counter) Inc(labels ...string) { c.Add(1, labels...) }

// Add counts n for the series with these labels.
func (c *Counter) Add(n int64, labels ...string) {
	if c != nil {
		c.cell(labels).Add(n)
	}
}

// from has the counter tell these values of its one label from the beginning, with 0: where a series begins later, its first count is not seen as an increase.
func (c *Counter) from(values ...string) *Counter {
	for _, v := range values {
		c.Add(0, v)
	}
	return c
}

// Of returns what counts for the series with these labels, for where that happens often. It goes on with a series that is not shown any more when its app
// has gone.
func (c *Counter) Of(labels ...string) *atomic.Int64 {
	if c == nil {
		return new(atomic.Int64)
	}
	return c.cell(labels)
}

func (c *Counter) samples() (all []Sample) {
	if len(c.metric.Labels) == 0 { // it is there from the first scrape on
		c.cell(nil)
	}
	c.each(func(labels []string, n *atomic.Int64) {
		all = append(all, Sample{Labels: labels, Value: float64(n.Load())})
	})
	return all
}

// Histogram counts durations. A nil Histogram counts nothing.
type Histogram struct{ table[histogram.Histogram] }

// Observe counts a duration for the series with these labels.
func (h *Histogram) Observe(d time.Duration, labels ...string) {
	if h != nil {
		h.cell(labels).Observe(d)
	}
}

func (h *Histogram) samples() (all []Sample) {
	h.each(func(labels []string, cell *histogram.Histogram) {
		all = append(all, Sample{Labels: labels, Histogram: cell.Value()})
	})
	return all
}

// Scrape collects the samples of one scrape.
type Scrape struct {
	samples map[*Metric][]Sample
}

// Add adds the value of a series. A nil Metric is left out.
func (s *Scrape) Add(m *Metric, value float64, labels ...string) {
	if m != nil {
		s.samples[m] = append(s.samples[m], Sample{Labels: labels, Value: value})
	}
}

// AddHistogram adds what a series has counted. A nil Metric is left out.
func (s *Scrape) AddHistogram(m *Metric, v histogram.Value, labels ...string) {
	if m != nil {
		s.samples[m] = append(s.samples[m], Sample{Labels: labels, Histogram: v})
	}
}

// bounded returns the samples of a metric with those beyond maxSeries in one: of counters and histograms their sum, of gauges nothing.
func bounded(m *Metric, all []Sample) []Sample {
	if len(all) <= maxSeries {
		return all
	}
	slices.SortStableFunc(all, func(a, b Sample) int { return cmp.Compare(key(a.Labels), key(b.Labels)) })
	rest := Sample{Labels: slices.Repeat([]string{Overflow}, len(m.Labels))}
	for _, s := range all[maxSeries:] {
		rest.Value += s.Value
		rest.Histogram = rest.Histogram.Plus(s.Histogram)
	}
	return append(all[:maxSeries:maxSeries], rest)
}
