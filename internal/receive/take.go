package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/awake"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// take runs the stages 5 to 8. unpacked is false when the pack was at fault.
func (p *push) take(c *refCommand) (unpacked bool, err error) {
	life := p.newLifetime()
	defer life.end()
	release, err := p.ss.Lease(life.ctx, p.name, p.app, app.VerbPush, life.cancel)
	if err != nil {
		return false, err
	}
	defer release()
	defer p.repository.Read()()
	q, err := p.repository.NewQuarantine(life.ctx, p.request.shallow)
	if err != nil {
		return false, err
	}
	defer q.Close()
	if began := p.opts.Began; began != nil {
		began()
	}
	began := time.Now()
	stats, err := p.receive(life, q, c)
	telemetry.Task(life.ctx, "receive", "", began, err, telemetry.Attribute{Key: telemetry.KeyObjects, Value: stats.Objects}, telemetry.Attribute{Key: telemetry.KeyBytes, Value: stats.Bytes})
	if err != nil {
		return false, err
	}
	p.tellTrace()
	began = time.Now()
	err = p.check(life.ctx, q, c, stats)
	telemetry.Task(life.ctx, "check", telemetry.TaskTest, began, err)
	if err != nil {
		return true, err
	}
	if p.options.Detach {
		if err := life.detach(c.branch); err != nil {
			return true, err
		}
	}
	turn := p.repository.Turn()
	version, err := p.deploy(life.ctx, q, c)
	if err != nil {
		return true, err
	}
	if p.options.NoTraffic {
		// The branch is what is live, and stays. What came to be is told under a name of its own.
		c.result = &refResult{name: fmt.Sprintf("refs/releases/v%d", version)}
		q.Keep()
		p.repository.Maintain()
		return true, nil
	}
	began = time.Now()
	err = p.publish(life.ctx, q, c, turn)
	telemetry.Task(life.ctx, "publish", "", began, err)
	return true, err
}

// receive takes the pack into the quarantine. Without a pack the objects must be here already.
func (p *push) receive(life *lifetime, q *repository.Quarantine, c *refCommand) (repository.PackStats, error) {
	branch := strings.TrimPrefix(c.name, "refs/heads/")
	told := p.progress(branch, c.new)
	started := time.Now()
	heard := p.ss.LimitWait(p.opts.StallTimeout, func() { life.cancel(stalled("nothing of the pack has arrived for %v", p.opts.StallTimeout)) })
	slow := awake.AfterFunc(p.opts.ReceiveTimeout, func() { life.cancel(stalled("the pack takes longer than %v", p.opts.ReceiveTimeout)) })
	stats, err := q.Index(life.ctx, p.ss.Input(), told.update)
	heard()
	slow.Stop()
	if e := context.Cause(life.ctx); e != nil {
		return stats, e
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return stats, err
	}
	p.received = true
	p.ss.DropInput()
	switch {
	case told.begun:
		p.log.Detail("%s, %s received in %.1fs", app.Count(stats.Objects, "object"), app.Size(stats.Bytes), time.Since(started).Seconds())
	case stats.Objects == 0:
		p.log.Step("Receiving %s (%s %.7s, nothing new)", p.name, branch, c.new)
	default:
		p.log.Step("Receiving %s (%s %.7s, %s, %s)", p.name, branch, c.new, app.Count(stats.Objects, "object"), app.Size(stats.Bytes))
	}
	if p.signed != nil {
		p.log.Detail("%s", p.signed)
	}
	return stats, nil
}

// manyObjects is where checking what a push leads to begins to take seconds.
const manyObjects = 50000

// check finds out whether the commit can be checked out, safely and whole, and fetches its submodules.
func (p *push) check(ctx context.Context, q *repository.Quarantine, c *refCommand, stats repository.PackStats) error {
	if err := q.Inspect(ctx, c.new); err != nil {
		return err
	}
	if !stats.Connected {
		if stats.Objects >= manyObjects {
			p.log.Detail("checking connectivity")
		}
		if err := q.Connected(ctx); err != nil {
			return err
		}
	}
	large, err := q.FindLarge(ctx)
	if err != nil {
		return err
	}
	if large > 0 {
		p.log.Detail("%s from Git LFS", app.Count(large, "file"))
	}
	if err := q.AddSubmodules(ctx, p.app != 0, p.log); err != nil {
		return err
	}
	if err := q.CheckLinks(); err != nil {
		return err
	}
	return p.findTags(ctx, q)
}

// deploy has the commit built and rolled out. It returns the number of its release.
func (p *push) deploy(ctx context.Context, q *repository.Quarantine, c *refCommand) (version int, err error) {
	author, subject := q.Commit()
	pushed := app.Push{
		App: p.name, AppID: p.app, By: app.Caller{Key: p.ss.Key()}, Ref: c.name, Branch: c.branch, Commit: c.new, Message: p.options.Message, Author: author, Subject: subject,
		Mode: p.options.mode(), Rollout: p.options.rollout(), ClearCache: p.options.ClearCache, Started: p.started, Log: p.log, Source: q.Source(), Accept: q.Accept,
	}
	if p.signed != nil {
		pushed.Signed = p.signed.String()
	}
	result, err := p.opts.Handler.Deploy(ctx, pushed)
	p.version = result.Version
	return result.Version, err
}

// publish moves the ref to what is live now: from here on the client matters no more.
func (p *push) publish(ctx context.Context, q *repository.Quarantine, c *refCommand, turn uint64) error {
	if err := q.Accept(); err != nil {
		return fmt.Errorf("the app is live, but its objects could not be kept: %w", err)
	}
	if p.request.has(reportV2) {
		c.result = p.compare(ctx, q, c)
	}
	if err := p.repository.SetLive(c.name, c.new, turn); err != nil {
		return fmt.Errorf("the app is live, but its ref could not be moved: %w", err)
	}
	if p.signed != nil {
		if err := p.repository.KeepCertificate(c.new, p.request.certificate.text); err != nil {
			p.opts.Log("certificate of %s %s: %v", p.name, c.new, err)
		}
	}
	p.repository.SetWantsAll(false)
	if c.branch == "" {
		q.KeepLive()
	} else { // what main needs stays
		q.Keep()
	}
	p.repository.Maintain()
	return nil
}

// stalled is why a push ends whose client sends nothing, or too slowly.
func stalled(format string, args ...any) error {
	return app.Errorf(app.CodeCancelled, "push again, over a better network", format, args...)
}

// askForAll has the next push send its whole history where one fails because of what was cut off before: the first push may
// have come from a shallow clone, and this one goes back behind it.
func (p *push) askForAll(err error) error {
	var e *app.Error
	if !p.cut || !errors.Is(err, repository.ErrIncomplete) || !errors.As(err, &e) {
		return err
	}
	p.repository.SetWantsAll(true)
	return app.Wrap(err, e.Code, "push again: only the end of the history is here, and now all of it is asked for", "%s", e.Message)
}
