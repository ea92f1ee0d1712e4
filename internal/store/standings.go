package store

import (
	"context"
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
)

// Questions about the releases of all apps. Each reads an index per app.
const (
	queryUnfinished = selectRelease + "WHERE s.finished = 0 ORDER BY s.app, s.version"
	queryStandings  = `SELECT a.name, coalesce((SELECT s.version FROM release_states s WHERE s.app = a.name AND s.state = 'live' ORDER BY s.version DESC LIMIT 1), 0),
		n.version, n.state, coalesce((SELECT (instr(e.facts, '"noWeb":true') > 0) + 2 * (instr(e.facts, '"getsEvents":true') > 0) FROM release_states s CROSS JOIN release_events e ON e.id = s.service
		WHERE s.app = a.name AND s.state = 'live' ORDER BY s.version DESC LIMIT 1), 0) FROM apps a CROSS JOIN release_states n
		ON n.app = a.name AND n.version = (SELECT s.version FROM release_states s WHERE s.app = a.name ORDER BY s.version DESC LIMIT 1)`
	queryLiveCommits = `SELECT a.name, r.version, r.commit_id, coalesce(p.parent, ''), coalesce(p.branch, '') FROM apps a CROSS JOIN releases r
		ON r.app = a.name AND r.version = (SELECT s.version FROM release_states s WHERE s.app = a.name AND s.state = 'live' ORDER BY s.version DESC LIMIT 1)
		LEFT JOIN previews p ON p.app = a.name`
	queryLiveServices = `SELECT a.name, s.version, s.service FROM apps a CROSS JOIN release_states s
		ON s.app = a.name AND s.version = (SELECT n.version FROM release_states n WHERE n.app = a.name AND n.state = 'live' ORDER BY n.version DESC LIMIT 1)
		WHERE a.owner = ? AND a.id <> ? AND s.service <> 0`
	queryServiceIn = "SELECT facts FROM release_events WHERE id = ?"
)

// Unfinished returns the releases of all apps whose state is not final, by app and version: after a start, what the process before left unfinished.
func (s *Store) Unfinished(ctx context.Context) ([]app.Release, error) {
	return s.many(ctx, queryUnfinished)
}

// Standing is the current state of an app.
type Standing struct {
	Live   int       // version that serves; 0 for none
	Newest int       // version of the newest release
	State  app.State // of the newest release
	NoWeb  bool      // what is live takes no requests
	// GetsEvents says that what is live has triggers, or schedules that send events.
	GetsEvents bool
}

// Standings returns the standing of each app that has releases, by name.
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
		var live int // bits: it takes no requests, it gets events
		if err := rows.Scan(&name, &st.Live, &st.Newest, &st.State, &live); err != nil {
			return nil, err
		}
		st.NoWeb, st.GetsEvents = live&1 != 0, live&2 != 0
		all[name] = st
	}
	return all, rows.Err()
}

// LiveCommit is the commit that an app serves.
type LiveCommit struct {
	App     app.App // its name; of a preview its parent and branch
	Version int
	Commit  string // 40 hex digits
}

// LiveCommits returns the live commit of each app that has one.
func (s *Store) LiveCommits(ctx context.Context) ([]LiveCommit, error) {
	rows, err := s.db.QueryContext(ctx, queryLiveCommits)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []LiveCommit
	for rows.Next() {
		var c LiveCommit
		if err := rows.Scan(&c.App.Name, &c.Version, &c.Commit, &c.App.Parent, &c.App.Branch); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// LiveService names the live Service of an app.
type LiveService struct {
	App     string
	Version int
	Event   int64 // of the ledger, which has it and never changes
}

// LiveServices names the live Services of the apps that the key named owner owns, except of the app with that ID. What they are is read by ServiceIn: a
// thousand of them are much to read for each push.
func (s *Store) LiveServices(ctx context.Context, owner string, except int64) ([]LiveService, error) {
	rows, err := s.db.QueryContext(ctx, queryLiveServices, owner, except)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []LiveService
	for rows.Next() {
		var l LiveService
		if err := rows.Scan(&l.App, &l.Version, &l.Event); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

// ServiceIn reads a Service, as JSON.
func (s *Store) ServiceIn(ctx context.Context, l LiveService) ([]byte, error) {
	var facts string
	err := s.db.QueryRowContext(ctx, queryServiceIn, l.Event).Scan(&facts)
	var service []byte
	if err == nil {
		service, err = serviceIn(facts)
	}
	if err != nil {
		return nil, fmt.Errorf("v%d of %s: %w", l.Version, l.App, err)
	}
	return service, nil
}
