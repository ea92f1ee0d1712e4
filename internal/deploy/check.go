package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// check sends the health check until it passes or its timeout is over.
func (r *rollout) check(ctx context.Context) error {
	deadline := time.Now().Add(r.plan.Check.Timeout)
	whole, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var status int
	var err, why error // why is that of the last attempt that did not merely time out
	for pause := probePause; ; pause = min(2*pause, time.Second) {
		attempt, stop := context.WithTimeout(whole, probeTime)
		answered, failed := r.Probe(attempt, r.service, GreenTag, r.plan.Check.Path)
		if failed == nil || whole.Err() == nil || pause == probePause { // what the end of the time cuts short says nothing
			status, err = answered, failed
		}
		if err == nil || attempt.Err() == nil {
			why = err
		}
		stop()
		if err == nil && status < 500 {
			r.status = status
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// The instance may have crashed on the request, or before the ingress answered: then its exit is the reason.
		if err := r.hasEnded(whole); err != nil {
			return err
		}
		var start *StartError
		if werr := r.WaitReady(whole, r.service, r.green); errors.As(werr, &start) {
			return werr
		}
		select {
		case <-time.After(pause):
		case <-whole.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.hasEnded(whole); err != nil {
			return err
		}
		if whole.Err() != nil {
			return r.unhealthy(ctx, status, err, why)
		}
	}
}

// hasEnded returns how an instance ended since the rollout began. A replacement that is up by now would end the same way.
func (r *rollout) hasEnded(ctx context.Context) error {
	var start *StartError
	if err := r.Ended(ctx, r.service, r.green, r.began); errors.As(err, &start) {
		return err
	}
	return nil
}

// unhealthy is the error of a check that never passed.
func (r *rollout) unhealthy(ctx context.Context, status int, err, why error) error {
	r.show(r.lastLines(ctx))
	got := fmt.Sprintf("answered with status %d (%s)", status, http.StatusText(status))
	reason, next := "", "see what the app wrote, above; the check passes with any status below 500"
	if err != nil {
		got = "was not answered"
		if reason = unanswered(cmp.Or(why, err)); reason != "" {
			reason, next = ": "+reason, "the server cannot reach the ingress: ask the operator to give its address (gitd serve --ingress HOST:PORT)"
		}
	}
	return app.Wrap(err, app.CodeUnhealthy, next, "health check failed: HTTP GET %s %s for %s%s", r.plan.Check.Path, got, app.Elapsed(r.plan.Check.Timeout), reason)
}

// unanswered says why a request did not reach the ingress; "" where that is not known.
func unanswered(err error) string {
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s cannot be resolved (%s)", dns.Name, dns.Err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Sprintf("no connection to %s (%v)", dial.Addr, dial.Err)
	}
	return ""
}

// lastLines returns the last lines of the revision's output.
func (r *rollout) lastLines(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
	defer cancel()
	var b strings.Builder
	if err := r.Logs(ctx, r.service, LogOptions{Revision: r.green, Tail: logLines}, &b); err != nil || b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// show writes lines of the app's output to the log of the push.
func (r *rollout) show(lines []string) { showLines(r.plan.Log, r.green, lines) }

func showLines(log *app.Log, revision string, lines []string) {
	if len(lines) == 0 {
		return
	}
	log.Detail("the last lines of %s:", revision)
	for _, l := range lines {
		log.Detail("  %s", l)
	}
}
