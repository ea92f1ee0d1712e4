package lifecycle

import (
	"context"
	"sync"
)

// Locks lets one build of an app run at a time.
type Locks struct {
	// mu guards the following.
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	token chan struct{}
	users int
}

// Acquire waits for the app's lock or the end of ctx. waiting is called once if it has to wait.
func (l *Locks) Acquire(ctx context.Context, name string, waiting func()) (release func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[name]
	if k == nil {
		k = &lock{token: make(chan struct{}, 1)}
		l.held[name] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, name)
		}
	}
	select {
	case k.token <- struct{}{}:
	default:
		waiting()
		select {
		case k.token <- struct{}{}:
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
	return sync.OnceFunc(func() { <-k.token; leave() }), nil
}
