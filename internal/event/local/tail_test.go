package local

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/event"
)

// For one that follows the events and does not read, no more waits than it may, and nothing that it does not see.
func TestTail_DoesNotRead(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), refuses, nil)
	ctx, cancel := context.WithCancel(t.Context())
	reads, seen := make(chan struct{}), make(chan int, 100)
	ended := make(chan error, 1)
	var missed int
	go func() {
		ended <- p.Tail(ctx, event.Query{Filters: []event.Filter{{Exact: map[string]string{"type": "a"}}}}, func(r event.Record, left int) error {
			missed += left
			seen <- len(r.Event.Data)
			<-reads
			return nil
		})
	}()
	follower := func() (f *tail) {
		p.tails.mu.Lock()
		defer p.tails.mu.Unlock()
		for f = range p.tails.all {
		}
		return f
	}
	waitFor(t, func() bool { return follower() != nil })
	send := func(id, kind string, size int) {
		if _, err := p.Send(t.Context(), "", event.Event{ID: id, Source: "s", Type: kind, Data: make([]byte, size)}, key); err != nil {
			t.Fatal(err)
		}
	}
	send("first", "a", 1)
	<-seen
	for i := range 10 {
		send(fmt.Sprint("other", i), "b", 1)
	}
	f := follower()
	if n := len(f.events); n != 0 {
		t.Errorf("%d wait that it does not see", n)
	}
	for i := range 20 {
		send(fmt.Sprint(i), "a", 900<<10)
	}
	waiting := len(f.events)
	p.tails.mu.Lock()
	bytes := f.bytes
	p.tails.mu.Unlock()
	if waiting != 4 || bytes > tailBytes {
		t.Errorf("%d wait, of %d bytes", waiting, bytes)
	}
	close(reads)
	for range waiting {
		<-seen
	}
	send("last", "a", 1)
	<-seen
	cancel()
	if err := <-ended; err != nil || missed != 16 {
		t.Errorf("%d are left out, %v", missed, err)
	}
	if f.bytes != 0 {
		t.Errorf("%d bytes wait at the end", f.bytes)
	}
}
