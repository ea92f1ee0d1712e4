package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// appStops keeps which apps were stopped and started by hand. A row is in effect as long as it is the app's newest, and its version the live release:
// the next release that goes live starts the app, in the same step.
const appStops = `
CREATE TABLE app_stops (
	id      INTEGER PRIMARY KEY,
	app     TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	version INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	key     TEXT NOT NULL,
	stopped INTEGER NOT NULL
) STRICT;
CREATE INDEX app_stops_by_app ON app_stops (app, id);
CREATE TRIGGER app_stops_are_final BEFORE UPDATE ON app_stops BEGIN SELECT RAISE(ABORT, 'a stop is never rewritten'); END;
`

const (
	queryStop  = "SELECT version, at, key, stopped FROM app_stops WHERE app = ? ORDER BY id DESC LIMIT 1"
	queryStops = `SELECT a.name, s.version, s.at, s.key FROM apps a CROSS JOIN app_stops s
		ON s.id = (SELECT n.id FROM app_stops n WHERE n.app = a.name ORDER BY n.id DESC LIMIT 1)
		WHERE s.stopped = 1 AND s.version = (SELECT n.version FROM release_states n WHERE n.app = a.name AND n.state = 'live' ORDER BY n.version DESC LIMIT 1)`
)

// Stop is an app that was stopped by hand.
type Stop struct {
	Live int    // the release that is live
	Key  string // who did it
	At   time.Time
}

// SetStopped records for caller that an app is stopped, or is not any more, in one transaction with the decision that it may. live is its live release.
func (s *Store) SetStopped(ctx context.Context, caller app.Caller, name string, live int, stopped bool) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if _, err := authorize(ctx, tx, caller, name, app.VerbChange); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO app_stops (app, version, at, key, stopped) VALUES (?, ?, ?, ?, ?)", name, live, s.Now().UnixMilli(), caller.Name(), stopped)
		return err
	})
}

// Stopped returns by whom the app with that live release was stopped; nil where it is not.
func (l Ledger) Stopped(ctx context.Context, live int) (*Stop, error) {
	var at int64
	var stopped bool
	var st Stop
	err := l.s.db.QueryRowContext(ctx, queryStop, l.app).Scan(&st.Live, &at, &st.Key, &stopped)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (!stopped || st.Live != live) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	st.At = time.UnixMilli(at)
	return &st, nil
}

// Stops returns the apps that are stopped, by name.
func (s *Store) Stops(ctx context.Context) (map[string]Stop, error) {
	rows, err := s.db.QueryContext(ctx, queryStops)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]Stop{}
	for rows.Next() {
		var name string
		var at int64
		var st Stop
		if err := rows.Scan(&name, &st.Live, &at, &st.Key); err != nil {
			return nil, err
		}
		st.At = time.UnixMilli(at)
		all[name] = st
	}
	return all, rows.Err()
}
