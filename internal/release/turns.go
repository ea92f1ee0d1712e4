package release

import (
	"context"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
)

// turns is what is under way for each app: one deployment at a time, or the app's destruction.
type turns struct {
	mu sync.Mutex
	// mu guards the following, and the users and current of each place.
	places map[string]*place
}

// place is where the turns of one app enter, one after the other.
type place struct {
	entry   sync.Mutex // held while one enters: the newest has the highest version
	users   int        // that hold entry or wait for it
	current *turn      // nil if nothing is under way
}

// turn is one deployment or destruction of an app.
type turn struct {
	destroys bool // no deployment cancels it
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when it has ended
}

// enter makes me what is under way for an app, unless join fails. join is called with what was under way before (nil for nothing), and no other
// turn of the app enters meanwhile; other apps do not wait. While the app is being destroyed, enter returns an *app.Error. It returns what was
// under way before, which the caller has to cancel and wait for.
func (t *turns) enter(name string, me *turn, join func(before *turn) error) (before *turn, err error) {
	err = t.alone(name, func(p *place) error {
		if before = t.underWay(p); before != nil && before.destroys {
			return app.Errorf(app.CodeUnavailable, "try again in a moment", "the app %s is being destroyed", name)
		}
		if err := join(before); err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		p.current = me
		return nil
	})
	return before, err
}

// whileIdle calls f if nothing is under way for the app. No turn enters before f returns.
func (t *turns) whileIdle(name string, f func() error) error {
	return t.alone(name, func(p *place) error {
		if t.underWay(p) != nil {
			return nil
		}
		return f()
	})
}

// leave ends a turn.
func (t *turns) leave(name string, me *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.places[name]; p != nil && p.current == me {
		p.current = nil
		t.forget(name, p)
	}
}

// alone calls f while no other turn of the app enters.
func (t *turns) alone(name string, f func(*place) error) error {
	t.mu.Lock()
	p := t.places[name]
	if p == nil {
		p = &place{}
		if t.places == nil {
			t.places = map[string]*place{}
		}
		t.places[name] = p
	}
	p.users++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		p.users--
		t.forget(name, p)
	}()
	p.entry.Lock()
	defer p.entry.Unlock()
	return f(p)
}

func (t *turns) underWay(p *place) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return p.current
}

// forget drops a place that is not in use.
func (t *turns) forget(name string, p *place) {
	if p.users == 0 && p.current == nil {
		delete(t.places, name)
	}
}
