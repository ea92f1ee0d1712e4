package keyed

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestLocks(t *testing.T) {
	var l Locks
	var all sync.WaitGroup
	n := map[string]*int{"a": new(int), "b": new(int)}
	for i := range 200 {
		name := []string{"a", "b"}[i%2]
		all.Go(func() {
			unlock := l.Lock(name)
			*n[name]++ // the race detector looks
			unlock()
			unlock()
		})
	}
	all.Wait()
	if *n["a"] != 100 || *n["b"] != 100 || len(l.held) != 0 {
		t.Errorf("%d, %d; %d locks left", *n["a"], *n["b"], len(l.held))
	}

	unlock := l.Lock("a")
	l.Lock("b")() // another name is free
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	waits := 0
	if _, err := l.Acquire(ctx, "a", func() { waits++; cancel(gone) }); !errors.Is(err, gone) || waits != 1 {
		t.Errorf("%v after %d waits", err, waits)
	}
	unlock()
	if release, err := l.Acquire(t.Context(), "a", func() { waits++ }); err != nil || waits != 1 {
		t.Errorf("%v after %d waits", err, waits)
	} else {
		release()
	}
}
