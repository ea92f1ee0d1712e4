package local

import (
	"context"
	"slices"
	"sync"
)

// starts bounds how many instances start at once on the machine. Slots go round the apps: an app that starts many instances waits for its
// own, and the other apps do not wait for them.
type starts struct {
	mu sync.Mutex // mu guards the following

	all     int
	free    int
	running map[string]int             // by Service
	waiting map[string][]chan struct{} // by Service, in the order of arrival; a channel is closed when its start gets a slot
	order   []string                   // Services with waiting starts, the one without a slot for longest first
}

func newStarts(n int) *starts {
	return &starts{all: n, free: n, running: map[string]int{}, waiting: map[string][]chan struct{}{}}
}

// acquire waits for a slot, and returns the function that releases it. It fails only when ctx ends.
func (s *starts) acquire(ctx context.Context, service string) (release func(), err error) {
	turn := make(chan struct{})
	s.mu.Lock()
	if len(s.waiting[service]) == 0 {
		s.order = append(s.order, service)
	}
	s.waiting[service] = append(s.waiting[service], turn)
	s.next()
	s.mu.Unlock()
	release = sync.OnceFunc(func() { s.release(service) })
	select {
	case <-turn:
		return release, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := s.forget(service, turn)
	s.mu.Unlock()
	if !left { // it got its slot at the same time
		release()
	}
	return nil, ctx.Err()
}

// idle says whether nothing starts.
func (s *starts) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free == s.all && len(s.order) == 0
}

func (s *starts) release(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.running[service]--; s.running[service] == 0 {
		delete(s.running, service)
	}
	s.next()
}

// next hands out the free slots. The caller holds mu.
func (s *starts) next() {
	for s.free > 0 && len(s.order) > 0 {
		service := s.order[0]
		for _, other := range s.order {
			if s.running[other] < s.running[service] {
				service = other
			}
		}
		turn := s.waiting[service][0]
		s.forget(service, turn)
		if len(s.waiting[service]) > 0 { // behind the others
			s.order = append(slices.DeleteFunc(s.order, func(o string) bool { return o == service }), service)
		}
		s.free--
		s.running[service]++
		close(turn)
	}
}

// forget removes a start from its queue, and reports whether it was in there. The caller holds mu.
func (s *starts) forget(service string, turn chan struct{}) bool {
	queue := s.waiting[service]
	i := slices.Index(queue, turn)
	if i < 0 {
		return false
	}
	if queue = slices.Delete(queue, i, i+1); len(queue) > 0 {
		s.waiting[service] = queue
		return true
	}
	delete(s.waiting, service)
	s.order = slices.DeleteFunc(s.order, func(o string) bool { return o == service })
	return true
}
