package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/gitd-io/gitd/internal/app"
)

// Each question about the ledger has a query of its own that reads an index: its cost does not depend on the length of the ledger.
// TestStore_QueriesReadIndexes checks that.

const (
	columns = `SELECT s.app, s.version, r.commit_id, r.ref, r.key, r.rollback_of,
		s.state, s.reason, s.message, s.repository, s.digest, s.processes, s.revision, s.created, s.finished, s.signed, s.kind, s.author, s.subject, s.trace FROM release_states s `
	entries       = "CROSS JOIN releases r ON r.app = s.app AND r.version = s.version "
	selectRelease = columns + entries
)

const (
	queryFind     = selectRelease + "WHERE s.app = ? AND s.version = ?"
	queryPage     = selectRelease + "WHERE s.app = ? AND s.version < ? ORDER BY s.version DESC LIMIT ?"
	queryLive     = selectRelease + "WHERE s.app = ? AND s.state = 'live' ORDER BY s.version DESC LIMIT 1"
	queryPrevious = selectRelease + "WHERE s.app = ? AND s.state = 'live' AND s.revision <> ? ORDER BY s.version DESC LIMIT 1"
	queryServed   = selectRelease + "WHERE s.app = ? AND s.state IN ('live', 'ready') ORDER BY s.version DESC"
	queryOpen     = selectRelease + "WHERE s.app = ? AND s.finished = 0 ORDER BY s.version"
	queryServes   = "SELECT 1 FROM release_states s INDEXED BY release_states_by_revision WHERE s.app = ? AND s.revision = ? AND s.state IN ('live', 'ready') LIMIT 1"
	queryKnows    = "SELECT 1 FROM release_states s INDEXED BY release_states_by_revision WHERE s.app = ? AND s.revision = ? LIMIT 1"
	queryWasLive  = "SELECT 1 FROM release_states s INDEXED BY release_states_by_revision WHERE s.app = ? AND s.revision = ? AND s.state = 'live' LIMIT 1"
	queryService  = "SELECT e.facts FROM release_states s CROSS JOIN release_events e ON e.id = s.service WHERE s.app = ? AND s.version = ?"
)

// Ledger answers questions about the releases of one app. Enter and AddEvent write it.
type Ledger struct {
	s   *Store
	app string
}

// Ledger returns the ledger of the app with this name. It is empty if the app does not exist.
func (s *Store) Ledger(app string) Ledger { return Ledger{s, app} }

// Find returns one release, or an *app.Error with code CodeNotFound.
func (l Ledger) Find(ctx context.Context, version int) (app.Release, error) {
	return l.s.one(ctx, app.Errorf(app.CodeNotFound, seeReleases(l.app), "release v%d of %s does not exist", version, l.app), queryFind, l.app, version)
}

// Newest returns the newest release, whatever its state, or an *app.Error with code CodeNotFound.
func (l Ledger) Newest(ctx context.Context) (app.Release, error) {
	return l.s.one(ctx, app.Errorf(app.CodeNotFound, "push it first", "%s has no releases", l.app), queryPage, l.app, math.MaxInt64, 1)
}

// Live returns the release that serves, which is the newest one in app.StateLive, or an *app.Error with code CodeNotFound.
func (l Ledger) Live(ctx context.Context) (app.Release, error) {
	return l.s.one(ctx, app.Errorf(app.CodeNotFound, "push it first", "nothing of %s is live yet", l.app), queryLive, l.app)
}

// Previous returns the release that was live before the one that serves: the newest one with another revision. If there was none, it
// returns an *app.Error with code CodeNotFound.
func (l Ledger) Previous(ctx context.Context) (app.Release, error) {
	none := app.Errorf(app.CodeNotFound, seeReleases(l.app), "%s has no earlier release to roll back to", l.app)
	live, err := l.s.one(ctx, none, queryLive, l.app)
	if err != nil {
		return live, err
	}
	return l.s.one(ctx, none, queryPrevious, l.app, live.Revision)
}

// Page returns at most limit releases, newest first: the newest ones, or those older than version before if that is not 0.
func (l Ledger) Page(ctx context.Context, before, limit int) ([]app.Release, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return l.s.many(ctx, queryPage, l.app, before, limit)
}

// Kept returns the releases whose images and revisions are needed: those under way that have an image, and the newest entry of
// each of the last n revisions that were live or ready.
func (l Ledger) Kept(ctx context.Context, n int) ([]app.Release, error) {
	open, err := l.s.many(ctx, queryOpen, l.app)
	if err != nil {
		return nil, err
	}
	var kept []app.Release
	for _, r := range open {
		if r.Digest != "" {
			kept = append(kept, r)
		}
	}
	seen := map[string]bool{}
	err = l.s.each(ctx, func(r app.Release) bool {
		if !seen[r.Revision] {
			seen[r.Revision] = true
			kept = append(kept, r)
		}
		return len(seen) < n
	}, queryServed, l.app)
	return kept, err
}

// Serves reports whether a release with this revision was live or is ready.
func (l Ledger) Serves(ctx context.Context, revision string) (bool, error) {
	return l.exists(ctx, queryServes, revision)
}

// Knows reports whether a release with this revision exists, in whatever state.
func (l Ledger) Knows(ctx context.Context, revision string) (bool, error) {
	return l.exists(ctx, queryKnows, revision)
}

func (l Ledger) exists(ctx context.Context, query, revision string) (bool, error) {
	if revision == "" {
		return false, nil
	}
	var one int
	err := l.s.db.QueryRowContext(ctx, query, l.app, revision).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Service returns the serving.knative.dev/v1 Service of a release as JSON, without traffic. For a release that was never started it returns an
// *app.Error with code CodeNotFound.
func (l Ledger) Service(ctx context.Context, version int) ([]byte, error) {
	e, err := l.started(ctx, version)
	return e.Service, err
}

// Production returns the Service that a release of a preview is promoted with, as JSON; nil for any other release. Its errors are those of Service.
func (l Ledger) Production(ctx context.Context, version int) ([]byte, error) {
	e, err := l.started(ctx, version)
	return e.Production, err
}

// started returns the event with which a release was started.
func (l Ledger) started(ctx context.Context, version int) (e Event, err error) {
	var facts string
	err = l.s.db.QueryRowContext(ctx, queryService, l.app, version).Scan(&facts)
	if errors.Is(err, sql.ErrNoRows) {
		return e, app.Errorf(app.CodeNotFound, seeReleases(l.app), "v%d of %s was never started", version, l.app)
	} else if err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(facts), &e); err != nil {
		return e, fmt.Errorf("v%d of %s: %w", version, l.app, err)
	}
	return e, nil
}

// serviceIn returns the Service in an event's facts.
func serviceIn(facts string) ([]byte, error) {
	var e Event
	err := json.Unmarshal([]byte(facts), &e)
	return e.Service, err
}

func seeReleases(name string) string { return "see the releases: gitd releases " + name }
