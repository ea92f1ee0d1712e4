// Package scale decides how many instances a revision has. Knative's autoscaler turns measured concurrency into a number;
// bounds, initial scale and the way to zero, which Knative keeps in its reconciler, are here.
package scale

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	netstats "knative.dev/networking/pkg/http/stats"
	apiautoscaling "knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/aggregation"
	asconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	kpa "knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	autoscaling "knative.dev/serving/pkg/reconciler/autoscaling/resources"
)

// Interval is how often to call Decide for a revision that has instances.
const Interval = 2 * time.Second

// Options are what a revision's template says about scale.
type Options struct {
	Annotations map[string]string // autoscaling.knative.dev/…
	Concurrency int64             // containerConcurrency
	Grace       time.Duration     // from the decision for zero to zero, at least
	Most        int               // upper bound where the annotations set none; 0 for none
}

// State is a revision as Decide finds it.
type State struct {
	Ready     int   // instances that take requests
	Wanted    int   // what the last decision said
	InFlight  int64 // requests, waiting ones included
	Reachable bool  // it has traffic or a tag
	Started   bool  // it was ready once: initial-scale no longer applies
}

// Scaler decides for one revision. It is not safe for concurrent use.
type Scaler struct {
	opts   Options
	config *autoscalerconfig.Config
	pa     *v1alpha1.PodAutoscaler

	window    time.Duration
	retention time.Duration
	decider   scaling.UniScaler
	metrics   *measured
	ready     int
	recorded  int64     // the last second that has a value
	active    time.Time // since when there are instances; zero without
	idle      time.Time // since when zero would do
}

var logger = zap.NewNop().Sugar()

// New returns a Scaler. ready is the number of instances there are already: a new Scaler does not take them away before it
// has seen a window of data.
func New(o Options, ready int, now time.Time) (*Scaler, error) {
	config, err := asconfig.NewConfigFromMap(nil)
	if err != nil {
		return nil, err
	}
	config.MaxScale = int32(o.Most)
	s := &Scaler{opts: o, config: config, ready: ready, recorded: now.Unix()}
	s.pa = &v1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "revision", Namespace: "default", Annotations: o.Annotations},
		Spec:       v1alpha1.PodAutoscalerSpec{ContainerConcurrency: o.Concurrency, Reachability: v1alpha1.ReachabilityReachable},
	}
	spec := kpa.MakeDecider(s.pa, config).Spec
	s.window = spec.StableWindow
	s.retention = config.ScaleToZeroPodRetentionPeriod
	if d, ok := s.pa.ScaleToZeroPodRetention(); ok {
		s.retention = d
	}
	s.metrics = newMeasured(autoscaling.MakeMetric(s.pa, "", config))
	s.decider = scaling.New(*attribute.EmptySet(), noop.NewMeterProvider(), "default", "revision", s.metrics, counter{s}, &spec)
	if ready > 0 {
		s.active = now
	}
	return s, nil
}

// Bounds are the fewest and the most instances that the annotations allow; no upper bound is 0.
func (s *Scaler) Bounds() (fewest, most int) {
	low, high := s.pa.ScaleBounds(s.config)
	return int(low), int(high)
}

// Record takes what the proxy measured since the last call. It may be called at any time; values count by the second.
func (s *Scaler) Record(now time.Time, r func(time.Time) netstats.RequestStatsReport) {
	second := now.Unix()
	if second <= s.recorded {
		return
	}
	report := r(now)
	// A tick that came late stands for all of the seconds since the last one.
	from := max(s.recorded+1, second-int64(s.window/time.Second))
	for t := from; t <= second; t++ {
		s.metrics.record(time.Unix(t, 0), report.AverageConcurrency, report.RequestCount/float64(second-from+1))
	}
	s.recorded = second
}

// Decide returns how many instances there should be.
func (s *Scaler) Decide(now time.Time, st State) int {
	s.ready = st.Ready
	if (st.Ready > 0 || st.Wanted > 0) && s.active.IsZero() {
		s.active = now
	} else if st.Ready == 0 && st.Wanted == 0 {
		s.active = time.Time{}
	}
	fewest, most := s.Bounds()
	if !st.Reachable { // no request can reach it; requests in flight end before its instance does
		if st.InFlight > 0 {
			return min(max(1, st.Wanted), max(1, st.Ready))
		}
		return 0
	}
	want := st.Wanted
	if r := s.decider.Scale(logger, now); r.ScaleValid {
		want = int(r.DesiredPodCount)
	}
	if !st.Started {
		want = max(want, int(kpa.GetInitialScale(s.config, s.pa)))
	}
	want = max(want, fewest)
	if most > 0 {
		want = min(want, most)
	}
	if want > 0 || st.InFlight > 0 {
		s.idle = time.Time{}
		return max(want, 1)
	}
	return s.zero(now, st)
}

// zero delays the last step down: a revision first has a full window, then the grace period, and the last
// instance at least its retention period.
func (s *Scaler) zero(now time.Time, st State) int {
	if st.Wanted == 0 && st.Ready == 0 {
		return 0
	}
	if !s.active.IsZero() && now.Sub(s.active) < s.window {
		return 1
	}
	if s.idle.IsZero() {
		s.idle = now
	}
	if now.Sub(s.idle) < max(s.opts.Grace, s.retention) {
		return 1
	}
	return 0
}

// counter tells Knative's autoscaler how many instances are ready.
type counter struct{ s *Scaler }

func (c counter) ReadyCount() (int, error)    { return c.s.ready, nil }
func (c counter) NotReadyCount() (int, error) { return 0, nil }

// measured keeps the values of the windows in Knative's own buckets. Knative's MetricCollector does the same, with a
// goroutine and a ticker for each revision, which would keep an idle machine awake.
type measured struct {
	concurrency, panicConcurrency, rate, panicRate buckets
}

type buckets interface {
	Record(time.Time, float64)
	WindowAverage(time.Time) float64
}

func newMeasured(m *v1alpha1.Metric) *measured {
	of := func(window time.Duration) buckets {
		if m.AggregationAlgorithm() == apiautoscaling.MetricAggregationAlgorithmWeightedExponential {
			return aggregation.NewWeightedFloat64Buckets(window, asconfig.BucketSize)
		}
		return aggregation.NewTimedFloat64Buckets(window, asconfig.BucketSize)
	}
	return &measured{of(m.Spec.StableWindow), of(m.Spec.PanicWindow), of(m.Spec.StableWindow), of(m.Spec.PanicWindow)}
}

func (m *measured) record(t time.Time, concurrency, rate float64) {
	m.concurrency.Record(t, concurrency)
	m.panicConcurrency.Record(t, concurrency)
	m.rate.Record(t, rate)
	m.panicRate.Record(t, rate)
}

var _ metrics.MetricClient = (*measured)(nil)

// StableAndPanicConcurrency returns the averages over the two windows.
func (m *measured) StableAndPanicConcurrency(_ types.NamespacedName, now time.Time) (float64, float64, error) {
	return m.concurrency.WindowAverage(now), m.panicConcurrency.WindowAverage(now), nil
}

// StableAndPanicRPS returns the averages over the two windows.
func (m *measured) StableAndPanicRPS(_ types.NamespacedName, now time.Time) (float64, float64, error) {
	return m.rate.WindowAverage(now), m.panicRate.WindowAverage(now), nil
}
