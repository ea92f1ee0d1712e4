package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

const (
	queryEvents     = "SELECT at, state, reason, facts FROM release_events WHERE app = ? AND version = ? ORDER BY id LIMIT ?"
	queryLiveBefore = selectRelease + "WHERE s.app = ? AND s.state = 'live' AND s.version < ? ORDER BY s.version DESC LIMIT 1"
)

// maxEvents is more than the states of a release.
const maxEvents = 100

// Past is an event with the time at which it was written.
type Past struct {
	At time.Time
	Event
}

// Events returns the events of a release, oldest first.
func (l Ledger) Events(ctx context.Context, version int) ([]Past, error) {
	rows, err := l.s.db.QueryContext(ctx, queryEvents, l.app, version, maxEvents)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Past
	for rows.Next() {
		var at int64
		var facts string
		var p Past
		if err := rows.Scan(&at, &p.State, &p.Reason, &facts); err != nil {
			return nil, err
		}
		state, why := p.State, p.Reason
		if err := json.Unmarshal([]byte(facts), &p.Event); err != nil {
			return nil, fmt.Errorf("v%d of %s: %w", version, l.app, err)
		}
		p.State, p.Reason, p.At = state, why, time.UnixMilli(at)
		all = append(all, p)
	}
	return all, rows.Err()
}

// LiveBefore returns the release that was live before the one with this version: the newest older one in app.StateLive; or an *app.Error with
// code CodeNotFound.
func (l Ledger) LiveBefore(ctx context.Context, version int) (app.Release, error) {
	return l.s.one(ctx, app.Errorf(app.CodeNotFound, seeReleases(l.app), "nothing of %s was live before v%d", l.app, version), queryLiveBefore, l.app, version)
}
