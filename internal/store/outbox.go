package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// outbox has what is still to be told of apps and releases. The database enters it itself, in the transaction of what is told, so that nothing is entered without it; a
// row goes when it was told.
const outbox = `
CREATE TABLE outbox (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	event  TEXT NOT NULL, -- names it for those who are told
	at     INTEGER NOT NULL, -- milliseconds
	what   TEXT NOT NULL, -- created, destroyed, or the state that a release has reached
	app    TEXT NOT NULL,
	app_id INTEGER NOT NULL,
	owner  TEXT NOT NULL,
	facts  TEXT NOT NULL  -- of the release, as JSON
) STRICT;
CREATE TRIGGER apps_created_is_told AFTER INSERT ON apps BEGIN
	INSERT INTO outbox (event, at, what, app, app_id, owner, facts) VALUES (lower(hex(randomblob(16))), NEW.created, 'created', NEW.name, NEW.id, NEW.owner, '{}');
END;
CREATE TRIGGER apps_destroyed_is_told BEFORE DELETE ON apps BEGIN
	INSERT INTO outbox (event, at, what, app, app_id, owner, facts) SELECT lower(hex(randomblob(16))), CAST(unixepoch('subsec') * 1000 AS INTEGER), 'destroyed', OLD.name, OLD.id, OLD.owner,
		coalesce((SELECT json_object('version', s.version) FROM release_states s WHERE s.app = OLD.name AND s.state = 'live' ORDER BY s.version DESC LIMIT 1), '{}');
END;
CREATE TRIGGER release_begun_is_told AFTER INSERT ON release_states WHEN NEW.finished = 0 BEGIN
	INSERT INTO outbox (event, at, what, app, app_id, owner, facts) SELECT lower(hex(randomblob(16))), NEW.created, NEW.state, a.name, a.id, a.owner,
		json_object('version', NEW.version, 'kind', NEW.kind, 'commit', r.commit_id, 'ref', r.ref, 'key', r.key, 'of', r.rollback_of)
		FROM apps a CROSS JOIN releases r ON r.app = a.name AND r.version = NEW.version WHERE a.name = NEW.app;
END;
CREATE TRIGGER release_ended_is_told AFTER UPDATE OF finished ON release_states WHEN NEW.finished <> 0 AND OLD.finished = 0 BEGIN
	INSERT INTO outbox (event, at, what, app, app_id, owner, facts) SELECT lower(hex(randomblob(16))), NEW.finished, NEW.state, a.name, a.id, a.owner,
		json_object('version', NEW.version, 'kind', NEW.kind, 'commit', r.commit_id, 'ref', r.ref, 'key', r.key, 'of', r.rollback_of, 'reason', NEW.reason, 'digest', NEW.digest, 'revision', NEW.revision,
			'first', iif(EXISTS (SELECT 1 FROM release_states s WHERE s.app = NEW.app AND s.state = 'live' AND s.version < NEW.version), json('false'), json('true')),
			'getsEvents', iif(coalesce((SELECT instr(e.facts, '"getsEvents":true') FROM release_events e WHERE e.id = NEW.service), 0) > 0, json('true'), json('false')))
		FROM apps a CROSS JOIN releases r ON r.app = a.name AND r.version = NEW.version WHERE a.name = NEW.app;
END;
`

// What an entry of the outbox can tell beside the state of a release.
const (
	AppCreated   = "created"
	AppDestroyed = "destroyed"
)

// Untold is something of an app or of a release that is to be told.
type Untold struct {
	Number int64  // in the order in which it came
	ID     string // that nothing else has
	At     time.Time
	What   string  // AppCreated, AppDestroyed, or the state that the release has reached: the first one, or a final one
	App    app.App // its name, ID, owner and parent, as they were then
	Facts
}

// Facts are what is known of a release. Version is 0 where there is none; of an app that was destroyed, it is the one that was live.
type Facts struct {
	Version    int      `json:"version"`
	Kind       app.Kind `json:"kind"`
	Commit     string   `json:"commit"`
	Ref        string   `json:"ref"`
	Key        string   `json:"key"`
	Of         int      `json:"of"`
	Reason     string   `json:"reason"`
	Digest     string   `json:"digest"`
	Revision   string   `json:"revision"`
	First      bool     `json:"first"` // nothing of the app was live before
	GetsEvents bool     `json:"getsEvents"`
}

// Untold returns what is to be told, the oldest first, at most limit of it.
func (s *Store) Untold(ctx context.Context, limit int) ([]Untold, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, event, at, what, app, app_id, owner, facts FROM outbox ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Untold
	for rows.Next() {
		var u Untold
		var at int64
		var facts string
		if err := rows.Scan(&u.Number, &u.ID, &at, &u.What, &u.App.Name, &u.App.ID, &u.App.Owner, &facts); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(facts), &u.Facts); err != nil {
			return nil, fmt.Errorf("entry %d of the outbox: %w", u.Number, err)
		}
		u.At = time.UnixMilli(at)
		_, u.App.Parent, _ = strings.Cut(u.App.Name, app.PreviewMark)
		all = append(all, u)
	}
	return all, rows.Err()
}

// untoldEnds returns the apps that are destroyed while that is still to be told: who may be told goes by whose they were.
func (s *Store) untoldEnds(ctx context.Context) ([]app.App, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT app, app_id, owner FROM outbox WHERE what = ?", AppDestroyed)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app.App
	for rows.Next() {
		var a app.App
		if err := rows.Scan(&a.Name, &a.ID, &a.Owner); err != nil {
			return nil, err
		}
		_, a.Parent, _ = strings.Cut(a.Name, app.PreviewMark)
		all = append(all, a)
	}
	return all, rows.Err()
}

// Told removes what was told: all up to this number.
func (s *Store) Told(ctx context.Context, number int64) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM outbox WHERE id <= ?", number)
	return err
}

// Changes returns a channel that gets a value after changes that this process made.
func (s *Store) Changes() <-chan struct{} { return s.changes }

// changed tells those who wait for changes.
func (s *Store) changed() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}
