package obtain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/gitd-io/gitd/internal/acme/wire"
)

// attemptTime is how long one attempt may take.
const attemptTime = 3 * time.Minute

// pauses are those after failures, one after the other; the last one stays. Authorities allow some five failures of a name in an hour.
var pauses = []time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour}

// limitPause is the least after an authority said that its limit is reached.
const limitPause = time.Hour

// name is what looks after one name.
type name struct {
	wire.Name
	p      *program
	cfg    *certmagic.Config
	cancel context.CancelFunc
	poke   chan struct{} // look at it at once

	told string    // hash of the certificate that gitd has
	ask  time.Time // when the authority is asked again when it wants the certificate renewed
}

// look obtains a certificate and renews it, until ctx ends.
func (n *name) look(ctx context.Context) {
	if a := n.p.notes.of(n.Name.Name); a.Failed != "" && goesOn(time.Until(a.Next)) { // of an earlier process
		n.tell(ctx)
		n.p.report(wire.Report{Tried: &wire.Tried{Name: n.Name.Name, Failed: a.Failed, Next: a.Next}})
		if !n.sleep(ctx, time.Until(a.Next)) {
			return
		}
	}
	for ctx.Err() == nil {
		next := n.p.config.Every
		if err := n.step(ctx); ctx.Err() != nil {
			return
		} else if err != nil {
			next = n.failed(err)
		}
		if !n.sleep(ctx, next) {
			return
		}
	}
}

// goesOn says whether a pause that was noted is still to be kept, by what is left of it. More than any attempt makes was noted while the clock was ahead.
func goesOn(left time.Duration) bool {
	longest := pauses[len(pauses)-1]
	return left > 0 && left <= longest+longest/10
}

// sleep waits, or until the name is to be looked at at once.
func (n *name) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-n.poke:
		n.ask = time.Time{}
	case <-ctx.Done():
		return false
	}
	return true
}

// failed notes why an attempt failed and returns the pause before the next one.
func (n *name) failed(err error) time.Duration {
	a := n.p.notes.of(n.Name.Name)
	pause := pauses[min(a.Failures, len(pauses)-1)]
	if limited(err) {
		pause = max(pause, limitPause)
	}
	pause += time.Duration(rand.Int64N(int64(pause)/10 + 1))
	a.Failures++
	a.Failed, a.Next = words(n.Name.Name, err), time.Now().Add(pause)
	n.p.notes.set(n.Name.Name, a)
	n.p.report(wire.Report{Tried: &wire.Tried{Name: n.Name.Name, Failed: a.Failed, Next: a.Next}})
	return pause
}

// tell gives gitd the certificate that is there.
func (n *name) tell(ctx context.Context) (certmagic.Certificate, error) {
	c, err := n.cfg.CacheManagedCertificate(ctx, n.Name.Name)
	if err == nil {
		n.p.cache.Remove([]string{c.Hash()})
	}
	if err != nil || c.Hash() == n.told {
		return c, err
	}
	text, err := inPEM(&c.Certificate)
	if err != nil {
		return c, err
	}
	n.told = c.Hash()
	n.p.report(wire.Report{Certificate: &wire.Certificate{Name: n.Name.Name, Chain: text}})
	return c, nil
}

// step obtains the certificate if there is none, and renews it if it is time.
func (n *name) step(ctx context.Context) error {
	c, err := n.tell(ctx)
	due, asked := false, false
	if err == nil {
		due = c.NeedsRenewal(n.cfg)
		asked = !due && n.asked(ctx, c)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("the certificate that is kept cannot be read: %w", err)
	case !due && !asked:
		n.p.notes.set(n.Name.Name, attempt{})
		return nil
	}
	if err == nil { // one is there
		err = n.attempt(ctx, func(ctx context.Context) error { return n.cfg.RenewCertSync(ctx, n.Name.Name, asked) })
	} else {
		n.p.report(wire.Report{Tried: &wire.Tried{Name: n.Name.Name}})
		err = n.attempt(ctx, func(ctx context.Context) error { return n.cfg.ObtainCertSync(ctx, n.Name.Name) })
	}
	if err != nil {
		return err
	}
	n.p.notes.set(n.Name.Name, attempt{})
	_, err = n.tell(ctx)
	return err
}

// attempt asks the authorities, unless the DNS forbids all of them.
func (n *name) attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if err := n.p.issues.allowed(ctx, n.p.config.Directories, n.Name.Name); err != nil {
		return err
	}
	return do(ctx)
}

// asked says whether an authority wants the certificate renewed by now (RFC 9773): it has revoked it, or will.
func (n *name) asked(ctx context.Context, c certmagic.Certificate) bool {
	if time.Now().Before(n.ask) {
		return false
	}
	n.ask = time.Now().Add(max(n.p.config.Every, time.Minute))
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, i := range n.cfg.Issuers {
		getter, ok := i.(certmagic.RenewalInfoGetter)
		if !ok {
			continue
		}
		info, err := getter.GetRenewalInfo(ctx, c)
		if err != nil {
			continue // it is of another one, or cannot say
		}
		if info.RetryAfter != nil && info.RetryAfter.After(n.ask) {
			n.ask = *info.RetryAfter
		}
		return !info.SelectedTime.IsZero() && !time.Now().Before(info.SelectedTime)
	}
	return false
}
