package release

import (
	"context"
	"errors"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/keyed"
)

// turns is what is under way for each app: one deployment at a time, or the app's destruction.
type turns struct {
	entry keyed.Locks // by app, held while a turn enters: the newest has the highest version

	mu sync.Mutex
	// mu guards the following.
	current map[string]*turn // by app
}

// turn is one deployment or destruction of an app.
type turn struct {
	destroys bool // no deployment cancels it
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when it has ended
	version  int           // of the release; 0 for a destruction, and for a change of the traffic
}

// enter makes me what is under way for an app, unless join fails. join is called with what was under way before (nil for nothing), and no other
// turn of the app enters meanwhile; other apps do not wait. While the app is being destroyed, enter returns an *app.Error. It returns what was
// under way before, which the caller has to cancel and wait for.
func (t *turns) enter(name string, me *turn, join func(before *turn) error) (before *turn, err error) {
	defer t.entry.Lock(name)()
	before = t.underWay(name)
	if before != nil && before.destroys {
		return before, beingDestroyed(name)
	}
	if err := join(before); err != nil {
		return before, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		t.current = map[string]*turn{}
	}
	t.current[name] = me
	return before, nil
}

// errUnderWay keeps a turn that waits from entering.
var errUnderWay = errors.New("another deployment of the app is under way")

// enterAlone is enter for a turn that waits for what is under way, instead of cancelling it. waits is called once if it has to; join may be nil.
func (t *turns) enterAlone(ctx context.Context, name string, me *turn, waits func(), join func() error) error {
	for first := true; ; first = false {
		before, err := t.enter(name, me, func(before *turn) error {
			if before != nil {
				return errUnderWay
			}
			if join == nil {
				return nil
			}
			return join()
		})
		if !errors.Is(err, errUnderWay) {
			return err
		}
		if first {
			waits()
		}
		select {
		case <-before.done:
		case <-ctx.Done():
			return cause(ctx)
		}
	}
}

// open begins a turn of an app, before it enters. The context that it returns ends with ctx, with the turn's cancellation and with the machine; end is
// called when all of the turn is over.
func (m *Machine) open(ctx context.Context) (_ context.Context, me *turn, end func(), err error) {
	if err := m.begin(); err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.ctx, func() { cancel(context.Cause(m.ctx)) })
	me = &turn{cancel: cancel, done: make(chan struct{})}
	return ctx, me, func() {
		close(me.done)
		stop()
		cancel(nil)
		m.running.Done()
	}, nil
}

// inTurn calls do in the app's turn. It waits for the deployment that is under way. Where the turn was ended from outside, the error says why.
func (m *Machine) inTurn(ctx context.Context, name string, log *app.Log, do func(ctx context.Context) error) error {
	ctx, me, end, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := m.turns.enterAlone(ctx, name, me, waiting(name, log), nil); err != nil {
		return err
	}
	defer m.turns.leave(name, me)
	if err = do(ctx); err != nil && ctx.Err() != nil {
		err = cause(ctx)
	}
	return err
}

// waiting tells that a turn waits for the one that is under way.
func waiting(name string, log *app.Log) func() {
	return func() { log.Step("Waiting for the release of %s that is under way", name) }
}

// whileIdle calls f if nothing is under way for the app. No turn enters before f returns.
func (t *turns) whileIdle(name string, f func() error) error {
	defer t.entry.Lock(name)()
	if t.underWay(name) != nil {
		return nil
	}
	return f()
}

// unlessDestroyed calls f, and returns its error, unless the app is being destroyed; its destruction does not begin before f returns.
func (t *turns) unlessDestroyed(name string, f func() error) error {
	defer t.entry.Lock(name)()
	if now := t.underWay(name); now != nil && now.destroys {
		return beingDestroyed(name)
	}
	return f()
}

func beingDestroyed(name string) error {
	return app.Errorf(app.CodeUnavailable, "try again in a moment", "the app %s is being destroyed", name)
}

// leave ends a turn.
func (t *turns) leave(name string, me *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current[name] == me {
		delete(t.current, name)
	}
}

func (t *turns) underWay(name string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current[name]
}
