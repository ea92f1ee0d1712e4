package awake

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStillness(t *testing.T) {
	at := time.Unix(1000, 0)
	s := Stillness{Every: 15 * time.Second}
	for _, tt := range []struct {
		after time.Duration
		still bool
	}{{0, false}, {15 * time.Second, false}, {29 * time.Second, false}, {70 * time.Second, true}, {15 * time.Second, false}, {-time.Hour, true}, {15 * time.Second, false}} {
		at = at.Add(tt.after)
		if got := s.Beat(at); got != tt.still {
			t.Errorf("after %v: %v", tt.after, got)
		}
	}
}

func TestAfterAwake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		fired := make(chan time.Duration, 1)
		AfterFunc(8*time.Second, func() { fired <- time.Since(began) })
		if took := <-fired; took != 8*time.Second {
			t.Error(took)
		}
		a := AfterFunc(8*time.Second, func() { t.Error("called after Stop") })
		time.Sleep(5 * time.Second)
		a.Stop()
		time.Sleep(time.Minute)
		// A pause takes one step: however long it is, seven are left.
		p := &Timer{left: steps, timer: time.NewTimer(time.Hour)}
		for range steps - 1 {
			if p.step(time.Hour) {
				t.Error("too early")
			}
		}
		if !p.step(time.Hour) {
			t.Error("never")
		}
		p.Stop()
	})
}
