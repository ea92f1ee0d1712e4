package release

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// change is a release that has its image already: of an older release, or from elsewhere. It goes through the same gate as a push, from the start
// of its revision on.
type change struct {
	kind    app.Kind
	says    string // in the log, before the older release: "back to"
	of      string // the preview whose release it begins with; "" for the app itself
	message string // for the ledger; may be empty
	current bool   // its configuration becomes the app's current one
	// find returns the release that it begins with.
	find func(store.Ledger) (app.Release, error)
	// edit makes the Service of the new release, and what its entry says of the image, out of those of the older one. The revision has its new
	// name by then; an edit that leaves the template as it was gives it the older one's name back. nil takes the older revision itself live.
	edit func(ctx context.Context, r *app.Release, service *servingv1.Service) error
	// check refuses a change before it enters the ledger, with the older release's Service; nil refuses none.
	check func(ctx context.Context, from app.Release, service *servingv1.Service) error
	// command runs the image's release command before the start, as after a build.
	command bool
}

// origin says in a word or two what a release was made of: a commit, or an image of another registry.
func origin(r app.Release) string {
	if r.Commit == "" {
		return app.Line(r.Subject, 60)
	}
	return fmt.Sprintf("%.7s", r.Commit)
}

// change takes c live as a new entry in the ledger of the app. A change with an edit waits for the deployment that is under way, so that it begins
// with what is live then; one without takes the place of that. It returns an *app.Error: what c.find and c.edit return, CodeForbidden if by has no
// right to change the app, or why it did not go live.
func (m *Machine) change(ctx context.Context, by app.Caller, name string, c change, log *app.Log) (app.Result, error) {
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange)
	if err != nil {
		return app.Result{}, err
	}
	d := &deployment{m: m, by: by, log: log, start: time.Now(), waits: c.edit != nil, release: app.Release{App: name}}
	var from app.Release
	var service *servingv1.Service
	d.prepare = func(ctx context.Context) (err error) {
		if from, err = c.find(m.o.Store.Ledger(cmp.Or(c.of, name))); err != nil {
			return err
		}
		if service, d.production, err = m.services(ctx, from); err != nil {
			return err
		}
		if c.of != "" {
			if service, d.production = d.production, nil; service == nil {
				return app.Errorf(app.CodeNotFound, "push the branch again", "what %s is promoted with is not in the ledger", c.of)
			}
		}
		if err := m.possible(ctx, c, from, service); err != nil {
			return err
		}
		d.release = app.Release{App: name, AppID: a.ID, Kind: c.kind, Of: from.Version, Commit: from.Commit, Ref: from.Ref, Message: c.message, Author: from.Author, Subject: from.Subject}
		return nil
	}
	err = d.run(ctx, func(ctx context.Context) error {
		inPlace, err := d.change(ctx, c, from, service)
		if err != nil || inPlace {
			return err
		}
		return m.o.SetLive(a, from.Commit)
	})
	return d.result(), err
}

// possible refuses a change before it enters the ledger.
func (m *Machine) possible(ctx context.Context, c change, from app.Release, service *servingv1.Service) error {
	if c.kind == app.KindScale || c.kind == app.KindConfig { // it says nothing of running again
		if err := m.refuseStopped(ctx, from); err != nil {
			return err
		}
	}
	if c.check == nil {
		return nil
	}
	return c.check(ctx, from, service)
}

// change takes a change live whose Service is that of an older release. It reports whether that keeps the revision.
func (d *deployment) change(ctx context.Context, c change, from app.Release, service *servingv1.Service) (inPlace bool, err error) {
	deploy.SetAppID(service, d.release.AppID) // releases of an older gitd have none
	d.release.Repository, d.release.Digest, d.release.Processes = from.Repository, from.Digest, from.Processes
	if c.edit != nil {
		service.Spec.Template.Name = app.RevisionName(d.release.App, d.release.Version)
		if err := d.configure(ctx, service); err != nil {
			return false, err
		}
		if err := c.edit(ctx, &d.release, service); err != nil {
			return false, err
		}
	} else if err := d.keepScale(ctx, service); err != nil {
		return false, err
	}
	d.log.Step("Release v%d: %s v%d (%s), revision %s", d.release.Version, c.says, from.Version, origin(from), service.Spec.Template.Name)
	if c.current {
		if err := d.makesCurrent(ctx, service); err != nil {
			return false, err
		}
	}
	if c.command {
		if err := d.runReleaseCommand(ctx, service); err != nil {
			return false, err
		}
	}
	if c.edit != nil && service.Spec.Template.Name == from.Revision {
		return true, d.inPlace(ctx, from, service)
	}
	return false, d.rollOut(ctx, launch{service: service})
}
