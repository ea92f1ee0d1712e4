// Package metrics takes the place of github.com/docker/go-metrics (see replace in go.mod): the metrics of distribution, which gitd does not
// serve. The real one brings Prometheus: 45 packages that every command of gitd pays for at its start. It has what distribution calls.
package metrics

import (
	"net/http"
	"time"
)

// Total is the unit of a gauge.
const Total Unit = "total"

// Unit is the unit of a metric.
type Unit string

// Labels are names and values that a metric always has.
type Labels map[string]string

// Namespace makes metrics.
type Namespace struct{}

// NewNamespace returns a namespace.
func NewNamespace(string, string, Labels) *Namespace { return &Namespace{} }

// Register does nothing.
func Register(*Namespace) {}

// NewCounter returns a counter that does not count.
func (*Namespace) NewCounter(string, string) Counter { return nothing{} }

// NewLabeledCounter returns a counter that does not count.
func (*Namespace) NewLabeledCounter(string, string, ...string) LabeledCounter { return counters{} }

// NewLabeledGauge returns a gauge that shows nothing.
func (*Namespace) NewLabeledGauge(string, string, Unit, ...string) LabeledGauge { return gauges{} }

// NewLabeledTimer returns a timer that measures nothing.
func (*Namespace) NewLabeledTimer(string, string, ...string) LabeledTimer { return timers{} }

// NewDefaultHttpMetrics returns none.
func (*Namespace) NewDefaultHttpMetrics(string) []*HTTPMetric { return nil }

// HTTPMetric is a metric of a handler.
type HTTPMetric struct{}

// InstrumentHandler returns the handler.
func InstrumentHandler(_ []*HTTPMetric, h http.Handler) http.HandlerFunc { return h.ServeHTTP }

// Handler serves no metrics.
func Handler() http.Handler { return http.NotFoundHandler() }

// Counter counts.
type Counter interface{ Inc(...float64) }

// LabeledCounter counts by labels.
type LabeledCounter interface{ WithValues(...string) Counter }

// Gauge shows a value.
type Gauge interface {
	Inc(...float64)
	Dec(...float64)
	Add(float64)
	Set(float64)
}

// LabeledGauge shows a value by labels.
type LabeledGauge interface{ WithValues(...string) Gauge }

// Timer measures how long something takes.
type Timer interface {
	Update(time.Duration)
	UpdateSince(time.Time)
}

// LabeledTimer measures by labels.
type LabeledTimer interface{ WithValues(...string) Timer }

type (
	nothing  struct{}
	counters struct{}
	gauges   struct{}
	timers   struct{}
)

func (nothing) Inc(...float64)        {}
func (nothing) Dec(...float64)        {}
func (nothing) Add(float64)           {}
func (nothing) Set(float64)           {}
func (nothing) Update(time.Duration)  {}
func (nothing) UpdateSince(time.Time) {}

func (counters) WithValues(...string) Counter { return nothing{} }
func (gauges) WithValues(...string) Gauge     { return nothing{} }
func (timers) WithValues(...string) Timer     { return nothing{} }
