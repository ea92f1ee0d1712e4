package build

import (
	"context"
	"slices"
	"sync"
)

// Queue bounds how many builds of all apps run at a time. It is fair between those who push: who has the fewest builds running is next, then
// who was served longest ago, then who came first. Where there is more than one place, the builds of one owner never take the last, so that
// another owner's build need not wait for them.
type Queue struct {
	places int

	// mu guards the following.
	mu      sync.Mutex
	running map[string]int    // by owner
	taken   int               // places
	turns   uint64            // places given so far
	last    map[string]uint64 // the turn that an owner was served at, for those in the queue
	waiting []*waiter         // in the order of arrival
}

type waiter struct {
	owner string
	enter chan struct{} // closed when it has a place
	ahead chan int      // the latest number of builds before it
	told  int           // what ahead had last
}

// NewQueue returns a queue for so many builds at a time, at least one.
func NewQueue(places int) *Queue {
	return &Queue{places: max(places, 1), running: map[string]int{}, last: map[string]uint64{}}
}

// Enter waits for a place for a build of the owner's. Call leave when the build has ended. Where it has to wait it calls ahead with the number of
// builds that have to end first, again when that changes. It returns the cause of ctx's end where that comes before the place.
func (q *Queue) Enter(ctx context.Context, owner string, ahead func(n int)) (leave func(), err error) {
	w := &waiter{owner: owner, enter: make(chan struct{}), ahead: make(chan int, 1)}
	q.mu.Lock()
	q.waiting = append(q.waiting, w)
	q.serve()
	q.mu.Unlock()
	leave = sync.OnceFunc(func() { q.leave(owner) })
	for {
		select {
		case <-w.enter:
			return leave, nil
		default:
		}
		select {
		case <-w.enter:
			return leave, nil
		case n := <-w.ahead:
			ahead(n)
		case <-ctx.Done():
			if !q.giveUp(w) { // it got a place just now
				leave()
			}
			return nil, context.Cause(ctx)
		}
	}
}

// Length returns how many builds run, and how many wait.
func (q *Queue) Length() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken, len(q.waiting)
}

// giveUp takes a waiter out of the queue. It returns false for one that has a place already.
func (q *Queue) giveUp(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.forget(w.owner)
	q.serve()
	return true
}

func (q *Queue) leave(owner string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken--
	q.running[owner]--
	q.forget(owner)
	q.serve()
}

// forget drops what is known of an owner with nothing in the queue.
func (q *Queue) forget(owner string) {
	if q.running[owner] == 0 && !slices.ContainsFunc(q.waiting, func(w *waiter) bool { return w.owner == owner }) {
		delete(q.running, owner)
		delete(q.last, owner)
	}
}

// serve gives the free places away, and tells those who wait how many are before them. The caller holds the lock.
func (q *Queue) serve() {
	for q.taken < q.places {
		i := q.next(q.running, q.last, func(owner string) bool { return q.running[owner] < max(q.places-1, 1) }, q.waiting)
		if i < 0 {
			break
		}
		w := q.waiting[i]
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.taken++
		q.running[w.owner]++
		q.turns++
		q.last[w.owner] = q.turns
		close(w.enter)
	}
	q.tell()
}

// next returns which of the waiting is next, among the owners that may; -1 for none.
func (q *Queue) next(running map[string]int, last map[string]uint64, may func(owner string) bool, waiting []*waiter) int {
	best := -1
	for i, w := range waiting {
		if !may(w.owner) {
			continue
		}
		if best >= 0 {
			b := waiting[best].owner
			if running[w.owner] > running[b] || running[w.owner] == running[b] && last[w.owner] >= last[b] {
				continue
			}
		}
		best = i
	}
	return best
}

// tell works out who would be served when, if the builds ended one after the other and no others came.
func (q *Queue) tell() {
	running, last, turns := map[string]int{}, map[string]uint64{}, q.turns
	for _, w := range q.waiting {
		running[w.owner], last[w.owner] = q.running[w.owner], q.last[w.owner]
	}
	for left, n := slices.Clone(q.waiting), 1; len(left) > 0; n++ {
		i := q.next(running, last, func(string) bool { return true }, left)
		w := left[i]
		left = slices.Delete(left, i, i+1)
		running[w.owner]++
		turns++
		last[w.owner] = turns
		if n == w.told {
			continue
		}
		w.told = n
		select {
		case <-w.ahead: // not passed on yet
		default:
		}
		w.ahead <- n
	}
}

// Places is how many builds a machine takes at a time: one more than its processors, for a build waits for the network often, as far as three quarters of
// its memory hold what each may take. Both are in the same unit as the limits.
func Places(processors int, memory int64, limits Limits) int {
	return max(1, min(processors+1, int(memory/4*3/limits.WithDefaults().Memory)))
}
