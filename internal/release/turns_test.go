package release

import (
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// While the ledger takes a release of one app, another app's turn comes, and the same app's waits.
func TestTurns(t *testing.T) {
	var all turns
	slow, entered := &turn{}, make(chan struct{})
	proceed := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := all.enter("a", slow, func(*turn) error { close(entered); <-proceed; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-entered
	if _, err := all.enter("b", &turn{}, func(*turn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	next := &turn{destroys: true}
	wg.Go(func() {
		if before, err := all.enter("a", next, func(*turn) error { return nil }); err != nil || before != slow {
			t.Errorf("%v, %v", before, err)
		}
	})
	close(proceed)
	wg.Wait()
	if _, err := all.enter("a", &turn{}, func(*turn) error { return nil }); app.CodeOf(err) != app.CodeUnavailable {
		t.Errorf("entered beside a destruction: %v", err)
	}
	called := false
	if err := all.whileIdle("a", func() error { called = true; return nil }); err != nil || called {
		t.Errorf("idle: %v, %v", called, err)
	}
	all.leave("a", slow) // no longer under way
	all.leave("a", next)
	if err := all.whileIdle("a", func() error { called = true; return nil }); err != nil || !called {
		t.Errorf("idle: %v, %v", called, err)
	}
	if len(all.current) != 1 { // b's
		t.Errorf("%d turns are kept", len(all.current))
	}
}
