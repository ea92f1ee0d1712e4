// Package keyed has locks by name: of an app, of a Service. A lock that is neither held nor waited for takes no memory.
package keyed

import (
	"context"
	"sync"
)

// Locks are locks by name. The zero value is ready for use.
type Locks struct {
	mu sync.Mutex
	// mu guards the following.
	held map[string]*lock
}

type lock struct {
	token chan struct{} // has one element while the lock is held
	users int           // that hold it or wait for it
}

// Lock waits for the lock of a name. unlock may be called more than once.
func (l *Locks) Lock(name string) (unlock func()) {
	unlock, _ = l.Acquire(context.Background(), name, func() {}) // it fails with its context alone
	return unlock
}

// Acquire waits for the lock of a name or the end of ctx, whose cause is the error. waiting is called once if it has to wait.
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
