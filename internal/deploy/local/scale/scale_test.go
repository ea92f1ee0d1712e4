package scale

import (
	"testing"
	"time"

	netstats "knative.dev/networking/pkg/http/stats"
)

// simulation runs a Scaler in virtual time: instances are there as soon as they are wanted.
type simulation struct {
	t     *testing.T
	s     *Scaler
	stats *netstats.RequestStats
	now   time.Time
	load  int
	state State
}

func simulate(t *testing.T, o Options, ready int) *simulation {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	s, err := New(o, ready, now)
	if err != nil {
		t.Fatal(err)
	}
	return &simulation{t: t, s: s, stats: netstats.NewRequestStats(now), now: now, state: State{Ready: ready, Wanted: ready, Reachable: true, Started: true}}
}

// run lets time pass with so many requests in flight, and returns how many instances there are then.
func (m *simulation) run(d time.Duration, load int) int {
	m.t.Helper()
	for ; m.load < load; m.load++ {
		m.stats.HandleEvent(netstats.ReqEvent{Time: m.now, Type: netstats.ReqIn})
	}
	for ; m.load > load; m.load-- {
		m.stats.HandleEvent(netstats.ReqEvent{Time: m.now, Type: netstats.ReqOut})
	}
	for end := m.now.Add(d); m.now.Before(end); m.now = m.now.Add(time.Second) {
		m.s.Record(m.now, m.stats.Report)
		m.state.InFlight = int64(m.load)
		n := m.s.Decide(m.now, m.state)
		m.state.Wanted, m.state.Ready = n, n
		if n > 0 {
			m.state.Started = true
		}
	}
	return m.state.Ready
}

func (m *simulation) want(what string, got, want int) {
	m.t.Helper()
	if got != want {
		m.t.Errorf("%s: %d instances, want %d", what, got, want)
	}
}

func annotations(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m["autoscaling.knative.dev/"+kv[i]] = kv[i+1]
	}
	return m
}

func TestLoad(t *testing.T) {
	m := simulate(t, Options{Concurrency: 10, Annotations: annotations("target-utilization-percentage", "100"), Grace: 30 * time.Second}, 0)
	m.want("a request comes", m.run(time.Second, 1), 1)
	m.want("a surge of 100", m.run(20*time.Second, 100), 10)
	m.want("steady", m.run(2*time.Minute, 100), 10)
	m.want("a third of it, a window later", m.run(3*time.Minute, 30), 3)
	m.want("idle, within window and grace", m.run(80*time.Second, 0), 1)
	m.want("idle", m.run(time.Minute, 0), 0)
	m.want("still idle", m.run(time.Hour, 0), 0)
	m.want("back", m.run(time.Second, 1), 1)
}

func TestBounds(t *testing.T) {
	m := simulate(t, Options{Annotations: annotations("min-scale", "2", "max-scale", "3", "target", "1", "window", "6s")}, 0)
	m.want("at first", m.run(time.Second, 0), 2)
	m.want("loaded", m.run(30*time.Second, 50), 3)
	m.want("idle", m.run(10*time.Minute, 0), 2)
	m.state.Reachable = false
	m.want("unreachable, with a request in flight", m.run(time.Second, 1), 2)
	m.want("unreachable", m.run(time.Second, 0), 0)

	m = simulate(t, Options{Annotations: annotations("target", "1", "window", "6s"), Most: 4}, 0)
	m.want("bounded by the machine", m.run(time.Minute, 100), 4)
	m = simulate(t, Options{Annotations: annotations("target", "1", "window", "6s", "max-scale", "6"), Most: 4}, 0)
	m.want("the annotation counts", m.run(time.Minute, 100), 6)
}

func TestWayToZero(t *testing.T) {
	m := simulate(t, Options{Annotations: annotations("window", "10s"), Grace: 5 * time.Second}, 1)
	m.want("after a start: a window of its own", m.run(9*time.Second, 0), 1)
	m.want("in the grace period", m.run(5*time.Second, 0), 1)
	m.want("then", m.run(3*time.Second, 0), 0)

	m = simulate(t, Options{Annotations: annotations("window", "10s", "scale-to-zero-pod-retention-period", "1m"), Grace: 5 * time.Second}, 1)
	m.want("retained", m.run(69*time.Second, 0), 1)
	m.want("not for longer", m.run(5*time.Second, 0), 0)

	m = simulate(t, Options{Annotations: annotations("window", "10s", "scale-down-delay", "1m")}, 0)
	m.want("loaded", m.run(time.Minute, 1), 1)
	m.want("delayed", m.run(55*time.Second, 0), 1)
	m.want("not for longer", m.run(40*time.Second, 0), 0)
}

func TestInitialScale(t *testing.T) {
	m := simulate(t, Options{Annotations: annotations("initial-scale", "3", "window", "10s")}, 0)
	m.state.Started = false
	m.s.Record(m.now, m.stats.Report)
	m.want("before the first is ready", m.s.Decide(m.now, m.state), 3)
}

// A new process that finds instances keeps them until it has seen a window.
func TestRestartKeepsInstances(t *testing.T) {
	now := time.Now() // Knative's autoscaler reads the clock itself at its start
	s, err := New(Options{Annotations: annotations("window", "10s")}, 3, now)
	if err != nil {
		t.Fatal(err)
	}
	stats := netstats.NewRequestStats(now)
	for i := range 9 {
		at := now.Add(time.Duration(i) * time.Second)
		s.Record(at, stats.Report)
		if n := s.Decide(at, State{Ready: 3, Wanted: 3, Reachable: true, Started: true}); n != 3 {
			t.Errorf("%d instances after %d s", n, i)
		}
	}
}

// Ticks that come late or twice do not falsify the measured concurrency.
func TestLateTicks(t *testing.T) {
	m := simulate(t, Options{Concurrency: 10, Annotations: annotations("target-utilization-percentage", "100")}, 0)
	m.run(time.Second, 20)
	for i := range 60 {
		m.now = m.now.Add(time.Duration(1+i%3) * 700 * time.Millisecond)
		m.s.Record(m.now, m.stats.Report)
		m.state.Wanted = m.s.Decide(m.now, m.state)
		m.state.Ready = m.state.Wanted
	}
	m.want("20 at once", m.state.Ready, 2)
}
