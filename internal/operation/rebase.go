package operation

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
)

// RebaseOf asks for an app's image to be put on the newest run image.
type RebaseOf struct {
	OfApp
	DryRun bool
	Log    *app.Log // is told the steps
}

// Rebased is what became of one app.
type Rebased struct {
	App     string `json:"app"`
	Outcome string `json:"outcome"`           // "rebased", "due" (of a dry run), "newest" (nothing to do), "none" (not built here, or nothing is live), "failed"
	From    string `json:"from,omitempty"`    // digest of the run image that it stood on
	To      string `json:"to,omitempty"`      // digest of the newest one
	Version int    `json:"version,omitempty"` // of the new release
	Reason  string `json:"reason,omitempty"`  // why it failed
}

// Rebase puts the image of an app that is live on the run image of today's builds, without a build.
var Rebase = Operation[RebaseOf, Rebased]{
	Declaration{Name: "rebase", Args: "APP", Does: "Put what is live on the newest run image, without a build", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in RebaseOf) (Rebased, error) {
		r := Rebased{App: c.app}
		p, err := c.Machine.PlanRebase(ctx, c.app)
		if err != nil {
			return r, err
		}
		r.From, r.To = p.From, p.To
		if in.DryRun {
			r.Outcome = "newest"
			if p.From == "" {
				r.Outcome = "none"
			} else if p.Due {
				r.Outcome = "due"
			}
			return r, nil
		}
		result, done, err := c.Machine.Rebase(ctx, c.by, c.app, in.Log)
		r.Version, r.Outcome = result.Version, "newest"
		if done {
			r.Outcome = "rebased"
		}
		return r, err
	},
}

// RebaseAllOf asks for that of all apps that the caller may change.
type RebaseAllOf struct {
	OfServer
	DryRun bool
	Log    *app.Log
}

// RebaseAll is Rebase for all apps that the caller may change, one after the other. It goes on after a failure: the error names those that failed.
var RebaseAll = Operation[RebaseAllOf, []Rebased]{
	Declaration{Name: "rebase", Args: "--all", Does: "Put all apps on the newest run image, without a build", Verb: app.VerbUse, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in RebaseAllOf) ([]Rebased, error) {
		apps, err := c.Store.AppsFor(ctx, c.by, Rebase.Verb)
		if err != nil {
			return nil, err
		}
		all, failed := []Rebased{}, 0
		for _, a := range apps {
			if err := context.Cause(ctx); err != nil {
				return all, err
			}
			r := c.rebaseOne(ctx, a.Name, in)
			if r.Outcome == "failed" {
				failed++
			}
			all = append(all, r)
		}
		if failed > 0 {
			return all, app.Errorf(app.CodeReleaseFailed, "see why above, and run it again: gitd rebase APP", "%s not rebased, of %d", app.Count(failed, "app"), len(all))
		}
		return all, nil
	},
}

func (c call) rebaseOne(ctx context.Context, name string, in RebaseAllOf) Rebased {
	r := Rebased{App: name, Outcome: "none"}
	if p, err := c.Machine.PlanRebase(ctx, name); app.CodeOf(err) == app.CodeNotFound || err == nil && p.From == "" {
		return r
	}
	r, err := Rebase.Do(ctx, c.Services, c.by, RebaseOf{OfApp: OfApp{name}, DryRun: in.DryRun, Log: in.Log})
	if err != nil {
		r.App, r.Outcome = name, "failed"
		r.Reason, _ = app.Explain(err)
		in.Log.Fail(err)
	}
	return r
}
