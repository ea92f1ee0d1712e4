package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Each question about the ledger has a query of its own that reads an index: what an answer costs does not depend on how long the
// ledger is. TestStore_QueriesReadIndexes holds that.

const (
	columns = `SELECT s.app, s.version, r.commit_id, r.ref, r.key, r.rollback_of,
		s.state, s.reason, s.message, s.repository, s.digest, s.processes, s.revision, s.created, s.finished, s.signed FROM release_states s `
	entries       = "CROSS JOIN releases r ON r.app = s.app AND r.version = s.version "
	selectRelease = columns + entries
)

// The queries, by what they ask for. TestStore_QueriesReadIndexes explains each of them.
const (
	queryFind       = selectRelease + "WHERE s.app = ? AND s.version = ?"
	queryPage       = selectRelease + "WHERE s.app = ? AND s.version < ? ORDER BY s.version DESC LIMIT ?"
	queryLive       = selectRelease + "WHERE s.app = ? AND s.state = 'live' ORDER BY s.version DESC LIMIT 1"
	queryPrevious   = selectRelease + "WHERE s.app = ? AND s.state = 'live' AND s.revision <> ? ORDER BY s.version DESC LIMIT 1"
	queryServed     = selectRelease + "WHERE s.app = ? AND s.state IN ('live', 'ready') ORDER BY s.version DESC"
	queryOpen       = selectRelease + "WHERE s.app = ? AND s.finished = 0 ORDER BY s.version"
	queryUnfinished = selectRelease + "WHERE s.finished = 0 ORDER BY s.app, s.version"
	queryRevision   = columns + "INDEXED BY release_states_by_revision " + entries + "WHERE s.app = ? AND s.revision = ? ORDER BY s.version DESC"
	queryService    = "SELECT e.facts FROM release_states s CROSS JOIN release_events e ON e.id = s.service WHERE s.app = ? AND s.version = ?"
	// For all apps: an index is read for each of them.
	queryStandings = `SELECT a.name, coalesce((SELECT s.version FROM release_states s WHERE s.app = a.name AND s.state = 'live' ORDER BY s.version DESC LIMIT 1), 0),
		n.version, n.state FROM apps a CROSS JOIN release_states n
		ON n.app = a.name AND n.version = (SELECT s.version FROM release_states s WHERE s.app = a.name ORDER BY s.version DESC LIMIT 1)`
	queryLiveCommits = `SELECT a.name, r.version, r.commit_id FROM apps a CROSS JOIN releases r
		ON r.app = a.name AND r.version = (SELECT s.version FROM release_states s WHERE s.app = a.name AND s.state = 'live' ORDER BY s.version DESC LIMIT 1)`
)

// Find returns one release, or an *app.Error with code CodeNotFound.
func (s *Store) Find(ctx context.Context, name string, version int) (app.Release, error) {
	return s.one(ctx, app.Errorf(app.CodeNotFound, seeReleases(name), "there is no release v%d of %s", version, name), queryFind, name, version)
}

// Newest returns the newest release of an app, whatever its state, or an *app.Error with code CodeNotFound.
func (s *Store) Newest(ctx context.Context, name string) (app.Release, error) {
	return s.one(ctx, app.Errorf(app.CodeNotFound, "push it first", "%s has no releases", name), queryPage, name, math.MaxInt64, 1)
}

// Live returns the release that serves, which is the newest one that reached app.StateLive, or an *app.Error with code CodeNotFound.
func (s *Store) Live(ctx context.Context, name string) (app.Release, error) {
	return s.one(ctx, app.Errorf(app.CodeNotFound, "push it first", "nothing of %s is live yet", name), queryLive, name)
}

// Previous returns the release that was live before the one that serves: the newest one with another revision. Where there is none, it
// returns an *app.Error with code CodeNotFound.
func (s *Store) Previous(ctx context.Context, name string) (app.Release, error) {
	none := app.Errorf(app.CodeNotFound, seeReleases(name), "there is no earlier release of %s to go back to", name)
	live, err := s.one(ctx, none, queryLive, name)
	if err != nil {
		return live, err
	}
	return s.one(ctx, none, queryPrevious, name, live.Revision)
}

// Page returns the newest releases of an app, at most limit of them, newest first; before is the version that they are older than, 0 for none.
func (s *Store) Page(ctx context.Context, name string, before, limit int) ([]app.Release, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return s.many(ctx, queryPage, name, before, limit)
}

// Unfinished returns the releases of all apps whose state is not final, by app and version: what a killed process left behind.
func (s *Store) Unfinished(ctx context.Context) ([]app.Release, error) {
	return s.many(ctx, queryUnfinished)
}

// Kept returns the releases of an app whose images and revisions are needed: those under way that have an image, and the newest entry of
// each of the last n revisions that served or are ready to.
func (s *Store) Kept(ctx context.Context, name string, n int) ([]app.Release, error) {
	open, err := s.many(ctx, queryOpen, name)
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
	err = s.each(ctx, func(r app.Release) bool {
		if !seen[r.Revision] {
			seen[r.Revision] = true
			kept = append(kept, r)
		}
		return len(seen) < n
	}, queryServed, name)
	return kept, err
}

// OfRevision returns the releases of an app that a revision served or was made for, newest first: a rollback brings back the revision
// of an older release.
func (s *Store) OfRevision(ctx context.Context, name, revision string) ([]app.Release, error) {
	if revision == "" {
		return nil, nil
	}
	return s.many(ctx, queryRevision, name, revision)
}

// Service returns the serving.knative.dev/v1 Service of a release as JSON, traffic apart. A release that never got as far as to start has none:
// that is an *app.Error with code CodeNotFound.
func (s *Store) Service(ctx context.Context, name string, version int) ([]byte, error) {
	var facts string
	err := s.db.QueryRowContext(ctx, queryService, name, version).Scan(&facts)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, app.Errorf(app.CodeNotFound, seeReleases(name), "v%d of %s was never started", version, name)
	} else if err != nil {
		return nil, err
	}
	var e Event
	if err := json.Unmarshal([]byte(facts), &e); err != nil {
		return nil, fmt.Errorf("v%d of %s: %w", version, name, err)
	}
	return e.Service, nil
}

// Standing says where an app stands.
type Standing struct {
	Live   int       // version that serves; 0 for none
	Newest int       // version of the newest release
	State  app.State // of the newest release
}

// Standings returns where each app that has releases stands, by its name.
func (s *Store) Standings(ctx context.Context) (map[string]Standing, error) {
	rows, err := s.db.QueryContext(ctx, queryStandings)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]Standing{}
	for rows.Next() {
		var name string
		var st Standing
		if err := rows.Scan(&name, &st.Live, &st.Newest, &st.State); err != nil {
			return nil, err
		}
		all[name] = st
	}
	return all, rows.Err()
}

// LiveCommit is the commit that an app serves.
type LiveCommit struct {
	App     string
	Version int
	Commit  string // 40 hex digits
}

// LiveCommits returns what each app serves, of those that do.
func (s *Store) LiveCommits(ctx context.Context) ([]LiveCommit, error) {
	rows, err := s.db.QueryContext(ctx, queryLiveCommits)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []LiveCommit
	for rows.Next() {
		var c LiveCommit
		if err := rows.Scan(&c.App, &c.Version, &c.Commit); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

func seeReleases(name string) string { return "see what there is: gitd releases " + name }

func (s *Store) one(ctx context.Context, none *app.Error, query string, args ...any) (app.Release, error) {
	all, err := s.many(ctx, query, args...)
	switch {
	case err != nil:
		return app.Release{}, err
	case len(all) == 0:
		return app.Release{}, none
	}
	return all[0], nil
}

func (s *Store) many(ctx context.Context, query string, args ...any) ([]app.Release, error) {
	var all []app.Release
	err := s.each(ctx, func(r app.Release) bool {
		all = append(all, r)
		return true
	}, query, args...)
	return all, err
}

// each calls do with each release, until it returns false.
func (s *Store) each(ctx context.Context, do func(app.Release) bool, query string, args ...any) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r app.Release
		var processes string
		var created, finished int64
		if err := rows.Scan(&r.App, &r.Version, &r.Commit, &r.Ref, &r.Key, &r.RollbackOf,
			&r.State, &r.Reason, &r.Message, &r.Repository, &r.Digest, &processes, &r.Revision, &created, &finished, &r.Signed); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(processes), &r.Processes); err != nil {
			return fmt.Errorf("v%d of %s: %w", r.Version, r.App, err)
		}
		r.Created = time.UnixMilli(created)
		if finished != 0 {
			r.Finished = time.UnixMilli(finished)
		}
		if !do(r) {
			return nil
		}
	}
	return rows.Err()
}
