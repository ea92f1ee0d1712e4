package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// trafficSplits keeps how the traffic of an app was divided by hand. A row is in effect as long as it is the app's newest, and its version the live
// release: the next release that goes live ends it, in the same step. It has no shares where a split was ended by hand.
const trafficSplits = `
CREATE TABLE traffic_splits (
	id      INTEGER PRIMARY KEY,
	app     TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	version INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	key     TEXT NOT NULL,
	shares  TEXT NOT NULL
) STRICT;
CREATE INDEX traffic_splits_by_app ON traffic_splits (app, id);
CREATE TRIGGER traffic_splits_are_final BEFORE UPDATE ON traffic_splits BEGIN SELECT RAISE(ABORT, 'a split is never rewritten'); END;
`

const (
	querySplit     = "SELECT version, at, key, shares FROM traffic_splits WHERE app = ? ORDER BY id DESC LIMIT 1"
	querySplitApps = "SELECT a.name FROM apps a WHERE EXISTS (SELECT 1 FROM traffic_splits t WHERE t.app = a.name LIMIT 1) ORDER BY a.name"
)

// Share is a release's part of the traffic.
type Share struct {
	Version int   `json:"version"`
	Percent int64 `json:"percent"`
}

// Split is how the traffic of an app was divided by hand.
type Split struct {
	Live   int     // the release that is live meanwhile
	Shares []Share // that add up to 100; none where all is on the live one
	Key    string  // who did it
	At     time.Time
}

// AddSplit records a split for caller, in one transaction with the decision that it may, and that the release is still the live one.
func (s *Store) AddSplit(ctx context.Context, caller app.Caller, name string, live int, shares []Share) error {
	text, err := json.Marshal(shares)
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		if _, err := authorize(ctx, tx, caller, name, app.VerbChange); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRowContext(ctx, "SELECT version FROM release_states WHERE app = ? AND state = 'live' ORDER BY version DESC LIMIT 1", name).Scan(&version); err != nil {
			return err
		}
		if version != live {
			return app.Errorf(app.CodeSuperseded, "see what is live now: gitd traffic "+name, "v%d of %s went live meanwhile", version, name)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO traffic_splits (app, version, at, key, shares) VALUES (?, ?, ?, ?, ?)", name, live, s.Now().UnixMilli(), caller.Name(), string(text))
		return err
	})
}

// Split returns the split that is in effect for the app whose live release is that one; nil for none.
func (l Ledger) Split(ctx context.Context, live int) (*Split, error) {
	var at int64
	var shares string
	sp := &Split{}
	err := l.s.db.QueryRowContext(ctx, querySplit, l.app).Scan(&sp.Live, &at, &sp.Key, &shares)
	if errors.Is(err, sql.ErrNoRows) || err == nil && sp.Live != live {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	sp.At = time.UnixMilli(at)
	if err := json.Unmarshal([]byte(shares), &sp.Shares); err != nil || len(sp.Shares) == 0 {
		return nil, err
	}
	return sp, nil
}

// SplitApps returns the names of the apps whose traffic was ever divided by hand.
func (s *Store) SplitApps(ctx context.Context) (names []string, err error) {
	return column[string](ctx, s.db, querySplitApps)
}
