package build

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// enter takes a place in the background, and writes down that it has it. The place is given back by the function it returns.
func (l *order) enter(ctx context.Context, q *Queue, owner, name string) (leave func()) {
	done := make(chan struct{})
	go func() {
		out, err := q.Enter(ctx, owner, func(n int) { l.add(fmt.Sprintf("%s:%d", name, n)) })
		if err != nil {
			l.add(name + " gone")
			return
		}
		l.add(name)
		<-done
		out()
	}()
	synctest.Wait()
	return func() { close(done); synctest.Wait() }
}

type order struct {
	mu   sync.Mutex
	said []string
}

func (l *order) add(s string) { l.mu.Lock(); l.said = append(l.said, s); l.mu.Unlock() }

func (l *order) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.said)
	s := strings.Join(l.said, " ")
	l.said = nil
	return s
}

func (l *order) want(t *testing.T, what string) {
	t.Helper()
	if got := l.take(); got != what {
		t.Errorf("got %q, want %q", got, what)
	}
}

// The attack: one key pushes many apps at once, whose builds take as long as they may. Another key's build has a place at once, and its
// second one is before the first key's rest.
func TestAttack_QueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, l := NewQueue(3), &order{}
		a1 := l.enter(t.Context(), q, "a", "a1")
		a2 := l.enter(t.Context(), q, "a", "a2")
		l.want(t, "a1 a2")
		a3 := l.enter(t.Context(), q, "a", "a3")
		a4 := l.enter(t.Context(), q, "a", "a4")
		l.want(t, "a3:1 a4:2")
		b1 := l.enter(t.Context(), q, "b", "b1")
		l.want(t, "b1")
		b2 := l.enter(t.Context(), q, "b", "b2")
		l.want(t, "a3:2 a4:3 b2:1")
		a1()
		l.want(t, "a3 a4:2") // each has one then, and a was served longer ago
		b1()
		l.want(t, "a4:1 b2")
		for _, leave := range []func(){a2, a3, a4, b2} {
			leave()
		}
	})
}

func TestQueue_OnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, l := NewQueue(0), &order{}
		a1 := l.enter(t.Context(), q, "a", "a1")
		a2 := l.enter(t.Context(), q, "a", "a2")
		ctx, cancel := context.WithCancel(t.Context())
		l.enter(ctx, q, "c", "c1")
		b1 := l.enter(t.Context(), q, "b", "b1")
		l.take()
		cancel()
		synctest.Wait()
		l.want(t, "a2:2 b1:1 c1 gone")
		a1()
		l.want(t, "a2:1 b1")
		b1()
		a2()
		if len(q.running)+len(q.last)+len(q.waiting)+q.taken != 0 {
			t.Errorf("left: %+v", q)
		}
	})
}

// Never more builds than places, never a place that is lost, no matter which build gives up when.
func TestQueue_Random(t *testing.T) {
	q := NewQueue(4)
	var running, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(rand.IntN(40))*time.Millisecond, errors.New("enough"))
			defer cancel()
			leave, err := q.Enter(ctx, fmt.Sprint(i%7), func(int) {})
			if err != nil {
				return
			}
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			running.Add(-1)
			leave()
			leave() // a second time is nothing
		})
	}
	wg.Wait()
	if most.Load() > 4 || q.taken != 0 || len(q.running)+len(q.last)+len(q.waiting) != 0 {
		t.Errorf("%d at a time; left: %+v", most.Load(), q)
	}
}

func TestPlaces(t *testing.T) {
	for _, tt := range []struct {
		processors int
		memory     int64
		limits     Limits
		want       int
	}{{2, 24 << 30, Limits{}, 3}, {16, 8 << 30, Limits{}, 3}, {1, 1 << 30, Limits{}, 1}, {4, 8 << 30, Limits{Memory: 512 << 20}, 5}} {
		if got := Places(tt.processors, tt.memory, tt.limits); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}
