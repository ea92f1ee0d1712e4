package contract

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// stream sends an event of a type each 20 ms until stop is called, which returns the ids of those that were accepted.
func (a *testApp) stream(t *testing.T, kind string) (stop func() []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ids []string
	var ended sync.WaitGroup
	ended.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			e := event.Event{ID: fmt.Sprintf("s%d", i), Source: a.source(), Type: kind}
			if _, err := a.s.Platform.Send(context.WithoutCancel(ctx), "", e, sender); err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, e.ID)
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() []string {
		cancel()
		ended.Wait()
		return ids
	}
}

// A release that delivers in another way has each event that comes meanwhile, once at least.
func (s *suite) deliveryChanges(t *testing.T) {
	a := s.app(t)
	one := a.trigger("stays", "/ok", ".a")
	a.set(t, one)
	stop := a.stream(t, a.kind+".a")
	for retry := range 2 {
		one.Delivery.Retry, one.Delivery.Timeout = 5+retry, time.Duration(10+retry)*time.Second
		a.set(t, one)
	}
	ids := stop()
	s.eventually(t, func() string {
		have := map[string]bool{}
		for _, g := range a.got(t) {
			if g.Path == "/ok" {
				have[g.Header["ce-id"]] = true
			}
		}
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return have[id] })
		if len(missing) > 0 {
			return fmt.Sprintf("of %d events, these did not come: %q", len(ids), missing)
		}
		return ""
	})
	if n := a.dead(t); len(n) != 0 {
		t.Errorf("dead letters: %d", n)
	}
}

// What others send while a trigger goes is no dead letter of its app.
func (s *suite) triggerGoes(t *testing.T) {
	a, other := s.app(t), s.app(t)
	other.set(t, other.trigger("all", "/ok", ".o"))
	one := a.trigger("goes", "/ok", ".a")
	one.Delivery = fast(0)
	stays := a.trigger("stays", "/ok", ".b")
	a.set(t, one, stays)
	stop := other.stream(t, other.kind+".o")
	a.set(t, stays)
	time.Sleep(2 * s.Quiet)
	if err := s.Platform.Forget(t.Context(), a.of); err != nil {
		t.Fatal(err)
	}
	time.Sleep(15 * s.Quiet) // longer than gitd and Knative may need to remove it
	ids := stop()
	s.eventually(t, func() string {
		if n := len(other.got(t)); n < len(ids) {
			return fmt.Sprintf("%d of %d events came", n, len(ids))
		}
		return ""
	})
	if n := a.dead(t); len(n) != 0 {
		t.Errorf("%d dead letters of an app whose trigger went: %d", len(n), n)
	}
}
