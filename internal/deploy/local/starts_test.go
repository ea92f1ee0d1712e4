package local

import (
	"context"
	"testing"
	"time"
)

// waitQueued waits until n starts of a Service are queued.
func waitQueued(t *testing.T, s *starts, service string, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		queued := len(s.waiting[service])
		s.mu.Unlock()
		if queued == n {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d starts of %s are queued, want %d", queued, service, n)
		}
	}
}

// The attack: an app starts a thousand instances at once, to keep the machine busy with its own starts. Right after, another app at zero
// gets a request. Its instance must start as soon as one start of the crowd is over, not behind all of them.
func TestAttack_ManyStarts(t *testing.T) {
	s := newStarts(4)
	acquired := make(chan func(), 2000)
	for range 1000 {
		go func() {
			if release, err := s.acquire(t.Context(), "crowd"); err == nil {
				acquired <- release
			}
		}()
	}
	var running []func()
	for range 4 {
		running = append(running, <-acquired)
	}
	waitQueued(t, s, "crowd", 996)
	got := make(chan struct{})
	go func() {
		release, err := s.acquire(t.Context(), "other")
		if err != nil {
			t.Error(err)
			return
		}
		close(got)
		release()
	}()
	waitQueued(t, s, "other", 1)
	running[0]() // one start of the crowd is over
	select {
	case <-got:
	case <-time.After(time.Minute):
		t.Fatal("the other app waits for the crowd")
	}
	for _, release := range running[1:] {
		release()
	}
	for range 996 { // the whole crowd gets its slots in the end
		(<-acquired)()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free != 4 || len(s.running)+len(s.waiting)+len(s.order) != 0 {
		t.Errorf("left: %+v", s)
	}
}

func TestStartsCancelled(t *testing.T) {
	s := newStarts(1)
	release, err := s.acquire(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.acquire(ctx, "b"); err == nil {
		t.Error("a slot although none is free")
	}
	release()
	release() // releasing twice is harmless
	again, err := s.acquire(t.Context(), "b")
	if err != nil || s.free != 0 {
		t.Errorf("%v, %d free", err, s.free)
	}
	again()
	if s.free != 1 || len(s.order)+len(s.waiting)+len(s.running) != 0 {
		t.Errorf("left: %+v", s)
	}
}
