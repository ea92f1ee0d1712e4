package contract

import (
	"errors"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// counters: what each revision of a split answers is counted, by status and by time.
func (s *suite) counters(t *testing.T) {
	if _, err := s.env.Platform.Counters(within(t), "nothing"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("counters of nothing: %v", err)
	}
	s.mustRoll(t, stays(s.service("counters", "v1")))
	s.mustRoll(t, stays(s.service("counters", "v2")))
	if err := s.env.Platform.Apply(within(t), traffic(stays(s.service("counters", "v2")), "counters-v1 50", "counters-v2 50")); err != nil {
		t.Fatal(err)
	}
	s.answered(t, "counters")
	before := s.counted(t, "counters")
	const n, failing = 60, 20
	for range n {
		if code, _, err := s.get(within(t), "counters", "/sleep?ms=20"); err != nil || code != 200 {
			t.Fatalf("%d, %v", code, err)
		}
	}
	for range failing {
		if code, _, err := s.get(within(t), "counters", "/fails"); err != nil || code != 503 {
			t.Fatalf("%d, %v", code, err)
		}
	}
	var v1, v2 deploy.Counters
	apptest.Eventually(t, settles, "all answers are counted", func() bool {
		now := s.counted(t, "counters")
		v1, v2 = now["counters-v1"].Since(before["counters-v1"]), now["counters-v2"].Since(before["counters-v2"])
		all := v1.Plus(v2)
		return all.Requests >= n+failing && all.Errors >= failing && all.Quantile(0.5) > 0
	})
	all := v1.Plus(v2)
	if all.Requests > n+failing+20 || all.Errors != failing { // requests: with those of checks
		t.Errorf("%d requests with %d errors, want %d with %d", all.Requests, all.Errors, n+failing, failing)
	}
	if v1.Requests < 15 || v2.Requests < 15 {
		t.Errorf("of %d requests v1 got %d, v2 %d", n+failing, v1.Requests, v2.Requests)
	}
	if p := all.Quantile(0.5); p < 10*time.Millisecond || p > 10*time.Second {
		t.Errorf("half of all answers within %v; most take 20 ms and more", p)
	}
}

// answered waits until both sides of a split were asked: the counters of a side may begin with its first request.
func (s *suite) answered(t *testing.T, name string) {
	seen := map[string]bool{}
	for range 200 {
		_, body, err := s.get(within(t), name, "/")
		if err != nil {
			t.Fatal(err)
		}
		if seen[body] = true; len(seen) == 2 {
			return
		}
	}
	t.Fatalf("answers: %v", seen)
}

func (s *suite) counted(t *testing.T, name string) map[string]deploy.Counters {
	t.Helper()
	c, err := s.env.Platform.Counters(within(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
