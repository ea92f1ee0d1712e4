package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Event is one step of a release: the state that it reached and what is known from then on. Empty facts leave what earlier
// events said.
type Event struct {
	State      app.State     `json:"-"`
	Reason     string        `json:"-"`
	Message    string        `json:"message,omitempty"`
	Repository string        `json:"repository,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	Processes  []app.Process `json:"processes,omitempty"`
	Revision   string        `json:"revision,omitempty"`
	Service    []byte        `json:"service,omitempty"`
}

// AddRelease appends an entry with the next version to the ledger of r.App, in state Received, and returns it.
func (s *Store) AddRelease(ctx context.Context, r app.Release) (app.Release, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return r, err
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, "SELECT 1 + coalesce(max(version), 0) FROM releases WHERE app = ?", r.App).Scan(&r.Version); err != nil {
		return r, err
	}
	facts, err := json.Marshal(Event{Message: r.Message})
	if err != nil {
		return r, err
	}
	now := s.now()
	if _, err := tx.ExecContext(ctx, "INSERT INTO releases (app, version, commit_id, ref, key, rollback_of) VALUES (?, ?, ?, ?, ?, ?)",
		r.App, r.Version, r.Commit, r.Ref, r.Key, r.RollbackOf); err != nil {
		return r, err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO release_events (app, version, at, state, reason, facts) VALUES (?, ?, ?, ?, '', ?)",
		r.App, r.Version, now.UnixMilli(), app.Received, string(facts)); err != nil {
		return r, err
	}
	r.State, r.Created = app.Received, time.UnixMilli(now.UnixMilli())
	return r, tx.Commit()
}

// AddEvent appends an event to a release.
func (s *Store) AddEvent(ctx context.Context, name string, version int, e Event) error {
	facts, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, "INSERT INTO release_events (app, version, at, state, reason, facts) VALUES (?, ?, ?, ?, ?, ?)",
		name, version, s.now().UnixMilli(), e.State, e.Reason, string(facts))
	return err
}

// Releases returns the ledger of an app, oldest first.
func (s *Store) Releases(ctx context.Context, name string) ([]app.Release, error) {
	return s.releases(ctx, "WHERE r.app = ?", name)
}

// Unfinished returns the releases of all apps whose state is not final: what a killed process left behind.
func (s *Store) Unfinished(ctx context.Context) ([]app.Release, error) {
	all, err := s.releases(ctx, "")
	if err != nil {
		return nil, err
	}
	var open []app.Release
	for _, r := range all {
		if !r.State.Final() {
			open = append(open, r)
		}
	}
	return open, nil
}

// releases folds the events of each entry.
func (s *Store) releases(ctx context.Context, where string, args ...any) ([]app.Release, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT r.app, r.version, r.commit_id, r.ref, r.key, r.rollback_of, e.at, e.state, e.reason, e.facts
		FROM releases r JOIN release_events e USING (app, version) `+where+` ORDER BY r.app, r.version, e.id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app.Release
	for rows.Next() {
		var r app.Release
		var at int64
		var state, reason, facts string
		if err := rows.Scan(&r.App, &r.Version, &r.Commit, &r.Ref, &r.Key, &r.RollbackOf, &at, &state, &reason, &facts); err != nil {
			return nil, err
		}
		if n := len(all); n == 0 || all[n-1].App != r.App || all[n-1].Version != r.Version {
			r.Created = time.UnixMilli(at)
			all = append(all, r)
		}
		last := &all[len(all)-1]
		last.State, last.Reason = app.State(state), reason
		if last.State.Final() && last.Finished.IsZero() {
			last.Finished = time.UnixMilli(at)
		}
		var e Event
		if err := json.Unmarshal([]byte(facts), &e); err != nil {
			return nil, err
		}
		learn(last, e)
	}
	return all, rows.Err()
}

func learn(r *app.Release, e Event) {
	if e.Message != "" {
		r.Message = e.Message
	}
	if e.Digest != "" {
		r.Repository, r.Digest, r.Processes = e.Repository, e.Digest, e.Processes
	}
	if e.Revision != "" {
		r.Revision = e.Revision
	}
	if len(e.Service) > 0 {
		r.Service = e.Service
	}
}
