package local

import (
	"context"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// notify gives the callers of WaitReady the result of a start. The caller holds mu.
func (r *revision) notify(err error) {
	for ch := range r.waiters {
		ch <- err
		delete(r.waiters, ch)
	}
}

// waitReady blocks until an instance is ready or one has failed to start.
func (r *revision) waitReady(ctx context.Context) error {
	ch := make(chan error, 1)
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return fmt.Errorf("revision %s: %w", r.name, deploy.ErrNotFound)
	}
	if ready, _ := r.count(); ready > 0 || r.noWeb {
		r.mu.Unlock()
		return nil
	}
	r.waiters[ch] = struct{}{}
	r.pins++
	r.retryAt = time.Time{}
	r.mu.Unlock()
	r.poke()
	defer func() {
		r.mu.Lock()
		r.pins--
		delete(r.waiters, ch)
		r.mu.Unlock()
		r.poke()
	}()
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.p.ctx.Done():
		return context.Canceled
	}
}

// backOff is the delay of the next start after so many failures in a row.
func backOff(failures int) time.Duration {
	return min(250*time.Millisecond<<min(failures, 10), time.Minute)
}

// noteFailure records an instance that did not come up. The caller holds mu.
func (r *revision) noteFailure(err *deploy.StartError, now time.Time) {
	r.failures++
	r.retryAt = now.Add(backOff(r.failures))
	r.notify(err)
	if ready, _ := r.count(); ready == 0 && (r.failures >= 3 || err.Reason != deploy.Exited && err.Reason != deploy.OutOfMemory) {
		r.proxy.SetFailing(notStarting(err.Reason))
	}
	r.p.opts.Log("deploy: an instance of %s did not come up: %v; next try in %s", r.name, err, backOff(r.failures))
}

// notStarting is what clients of an app read while it does not start. Failures of the server itself are not in the app's log.
func notStarting(why deploy.StartReason) string {
	switch why {
	case deploy.RuntimeError, deploy.NoRoom:
		return "cannot be started: the server's log says why; tell its operator"
	case deploy.ImageError:
		return "cannot be started, because its image is not available: its owner can push it again"
	}
	return "does not start: its log says why; tell its owner"
}
