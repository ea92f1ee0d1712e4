package store

import (
	"context"
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
)

// Restorable returns the release that a rollback to version takes live: one whose revision was live. Version 0 means Previous. It returns an
// *app.Error: CodeNotFound if there is no such release, CodeInvalidInput if it was never live.
func (l Ledger) Restorable(ctx context.Context, version int) (app.Release, error) {
	if version == 0 {
		return l.Previous(ctx)
	}
	r, was, err := l.wasLive(ctx, version)
	switch {
	case err != nil || was:
	case r.State == app.StateReady:
		err = app.Errorf(app.CodeInvalidInput, fmt.Sprintf("take it live: gitd promote %s v%d", l.app, version), "v%d of %s was never live (ready)", version, l.app)
	default:
		err = app.Errorf(app.CodeInvalidInput, seeReleases(l.app), "v%d of %s was never live (%s): there is nothing to go back to", version, l.app, r.State)
	}
	return r, err
}

// Promotable returns the release with this version if it is ready and was never live. Its errors are those of Restorable.
func (l Ledger) Promotable(ctx context.Context, version int) (app.Release, error) {
	r, was, err := l.wasLive(ctx, version)
	switch {
	case err != nil:
	case was:
		err = app.Errorf(app.CodeInvalidInput, fmt.Sprintf("bring it back: gitd rollback %s v%d", l.app, version), "v%d of %s was live already", version, l.app)
	case r.State != app.StateReady:
		err = app.Errorf(app.CodeInvalidInput, seeReleases(l.app), "v%d of %s never became ready (%s)", version, l.app, r.State)
	}
	return r, err
}

// wasLive finds a release and reports whether it was live, by itself or through a promotion.
func (l Ledger) wasLive(ctx context.Context, version int) (app.Release, bool, error) {
	r, err := l.Find(ctx, version)
	if err != nil || r.State != app.StateReady {
		return r, r.State == app.StateLive, err
	}
	was, err := l.exists(ctx, queryWasLive, r.Revision)
	return r, was, err
}
