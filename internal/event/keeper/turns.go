package keeper

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Bounds of what is done at a time. The Pod has 256 MiB.
const (
	maxDeliveries = 8        // at a time
	maxOfApp      = 2        // of those: what one app does with its time does not hold up the others
	maxMail       = 128      // events on their way to brokers: a broker may hold each for as long as its slowest trigger takes
	inFlight      = 24 << 20 // bytes of letters that are read for deliveries, and the same for brokers
	inComing      = 16 << 20 // bytes of bodies that are read
	leastBody     = 16 << 10 // what a body counts for, at least
)

// turns let a bounded number of letters, with a bounded number of bytes, be worked on. They come in the order in which they ask.
type turns struct {
	bytes, slots *semaphore.Weighted
	room         int64
}

func newTurns(slots, bytes int64) *turns {
	return &turns{semaphore.NewWeighted(bytes), semaphore.NewWeighted(slots), bytes}
}

// take waits for a turn of a size. It returns what gives it back; nil where ctx ends first.
func (t *turns) take(ctx context.Context, size int64) func() {
	size = min(size, t.room)
	if t.slots.Acquire(ctx, 1) != nil {
		return nil
	}
	if t.bytes.Acquire(ctx, size) != nil {
		t.slots.Release(1)
		return nil
	}
	return func() { t.bytes.Release(size); t.slots.Release(1) }
}

// shares bound what each app has of something.
type shares struct {
	most int64

	mu  sync.Mutex
	all map[int64]*share
}

type share struct {
	*semaphore.Weighted
	users int // that have it or wait for it
}

func newShares(most int64) *shares { return &shares{most: most, all: map[int64]*share{}} }

// take waits for a part of an app's share. It returns what gives it back; nil where ctx ends first.
func (s *shares) take(ctx context.Context, app int64) func() {
	s.mu.Lock()
	one := s.all[app]
	if one == nil {
		one = &share{Weighted: semaphore.NewWeighted(s.most)}
		s.all[app] = one
	}
	one.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(s.all, app)
		}
	}
	if one.Acquire(ctx, 1) != nil {
		leave()
		return nil
	}
	return func() { one.Release(1); leave() }
}
