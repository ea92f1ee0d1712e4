package local

import (
	"context"
	"testing"
	"time"
)

// An app that starts very many instances delays another one by the start that is under way, and no more.
func TestAttack_ManyStarts(t *testing.T) {
	// One app asks for a thousand instances at once. Another one, at zero, gets a request right after: it must not stand behind them.
	s := newStarts(4)
	turns := make(chan func(), 2000)
	take := func(service string) {
		go func() {
			if give, err := s.take(t.Context(), service); err == nil {
				turns <- func() { give() }
			}
		}()
	}
	for range 1000 {
		take("crowd")
	}
	var running []func()
	for range 4 {
		running = append(running, <-turns)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := len(s.waiting["crowd"])
		s.mu.Unlock()
		if n == 996 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d wait", n)
		}
	}
	got := make(chan struct{})
	go func() {
		give, err := s.take(t.Context(), "other")
		if err != nil {
			t.Error(err)
			return
		}
		close(got)
		give()
	}()
	for {
		s.mu.Lock()
		n := len(s.waiting["other"])
		s.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	running[0]() // one start of the crowd is over
	select {
	case <-got:
	case <-time.After(10 * time.Second):
		t.Fatal("the other app waits for the crowd")
	}
	for _, give := range running[1:] {
		give()
	}
	for range 996 { // all get their turn
		(<-turns)()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free != 4 || len(s.running)+len(s.waiting)+len(s.order) != 0 {
		t.Errorf("left: %+v", s)
	}
}

func TestStartsCancelled(t *testing.T) {
	s := newStarts(1)
	give, err := s.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.take(ctx, "b"); err == nil {
		t.Error("a turn without one free")
	}
	give()
	give() // once more does no harm
	again, err := s.take(t.Context(), "b")
	if err != nil || s.free != 0 {
		t.Errorf("%v, %d free", err, s.free)
	}
	again()
	if s.free != 1 || len(s.order)+len(s.waiting)+len(s.running) != 0 {
		t.Errorf("left: %+v", s)
	}
}
