package local

import (
	"context"
	"slices"
	"sync"
)

// starts bounds how many instances start at once on the machine. Turns go round the apps: one that asks for many instances waits for its
// own, and not the others for them.
type starts struct {
	mu      sync.Mutex
	free    int
	running map[string]int             // by Service
	waiting map[string][]chan struct{} // by Service, first come first; a channel is closed when its turn has come
	order   []string                   // Services with waiting ones, the one that had no turn for longest first
}

func newStarts(n int) *starts {
	return &starts{free: n, running: map[string]int{}, waiting: map[string][]chan struct{}{}}
}

// take waits for a turn, and returns the function that gives it back. It fails only when ctx ends.
func (s *starts) take(ctx context.Context, service string) (give func(), err error) {
	turn := make(chan struct{})
	s.mu.Lock()
	if len(s.waiting[service]) == 0 {
		s.order = append(s.order, service)
	}
	s.waiting[service] = append(s.waiting[service], turn)
	s.next()
	s.mu.Unlock()
	give = sync.OnceFunc(func() { s.give(service) })
	select {
	case <-turn:
		return give, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := s.forget(service, turn)
	s.mu.Unlock()
	if !left { // its turn came at the same time
		give()
	}
	return nil, ctx.Err()
}

func (s *starts) give(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.running[service]--; s.running[service] == 0 {
		delete(s.running, service)
	}
	s.next()
}

// next gives the free turns away. The caller holds mu.
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

// forget takes one out of its queue, and says whether it was in there. The caller holds mu.
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
