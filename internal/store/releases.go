package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Event is one step of a release: the state that it reached and what is known from then on. Empty facts leave those of earlier events.
type Event struct {
	State      app.State     `json:"-"`
	Reason     string        `json:"-"`
	Message    string        `json:"message,omitempty"`
	Signed     string        `json:"signed,omitempty"` // this and the next three only in the first event
	Kind       app.Kind      `json:"kind,omitempty"`
	Author     string        `json:"author,omitempty"`
	Trace      string        `json:"trace,omitempty"` // in the first event
	Subject    string        `json:"subject,omitempty"`
	Repository string        `json:"repository,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	Processes  []app.Process `json:"processes,omitempty"`
	Revision   string        `json:"revision,omitempty"`
	Service    []byte        `json:"service,omitempty"`
	Production []byte        `json:"production,omitempty"` // of a preview's release, with Service: the Service that it is promoted with
	NoWeb      bool          `json:"noWeb,omitempty"`      // with Service: no process of it takes requests
	GetsEvents bool          `json:"getsEvents,omitempty"` // with Service: it has triggers, or schedules that send events
	Code       app.Code      `json:"code,omitempty"`       // in the last event of a release that did not go live: the kind of failure
	Times      []app.Time    `json:"times,omitempty"`      // in the last event: what the parts of the release took
	// Configuration is the version of the app's configuration that becomes the current one with this event; nil leaves the current one.
	Configuration *int `json:"configuration,omitempty"`
}

const (
	insertEvent = "INSERT INTO release_events (app, version, at, state, reason, facts) VALUES (?, ?, ?, ?, ?, ?)"
	insertState = `INSERT INTO release_states (app, version, state, reason, message, repository, digest, processes, revision, service, created, finished, signed, kind, author, subject, trace)
		VALUES (?, ?, ?, '', ?, '', '', 'null', '', 0, ?, 0, ?, ?, ?, ?, ?)`
	// An empty fact leaves the value.
	updateState = `UPDATE release_states SET state = ?1, reason = ?2,
		message = iif(?3 = '', message, ?3),
		repository = iif(?5 = '', repository, ?4), digest = iif(?5 = '', digest, ?5), processes = iif(?5 = '', processes, ?6),
		revision = iif(?7 = '', revision, ?7), service = iif(?8 = 0, service, ?8), finished = iif(finished = 0, ?9, finished)
		WHERE app = ?10 AND version = ?11`
)

// AddRelease appends an entry with the next version to the ledger of r.App, in state Received, and returns it.
// It does not check rights, as Enter does.
func (s *Store) AddRelease(ctx context.Context, r app.Release) (app.Release, error) {
	err := s.change(ctx, func(tx *sql.Tx) (err error) {
		r, err = s.addRelease(ctx, tx, r)
		return err
	})
	return r, err
}

func (s *Store) addRelease(ctx context.Context, tx querier, r app.Release) (app.Release, error) {
	if err := tx.QueryRowContext(ctx, "SELECT 1 + coalesce(max(version), 0) FROM releases WHERE app = ?", r.App).Scan(&r.Version); err != nil {
		return r, err
	}
	if r.Kind == "" {
		r.Kind = app.KindPush
	}
	facts, err := json.Marshal(Event{Message: r.Message, Signed: r.Signed, Kind: r.Kind, Author: r.Author, Subject: r.Subject, Trace: r.Trace})
	if err != nil {
		return r, err
	}
	now := s.Now().UnixMilli()
	if _, err := tx.ExecContext(ctx, "INSERT INTO releases (app, version, commit_id, ref, key, rollback_of) VALUES (?, ?, ?, ?, ?, ?)",
		r.App, r.Version, r.Commit, r.Ref, r.Key, r.Of); err != nil {
		return r, err
	}
	if _, err := tx.ExecContext(ctx, insertEvent, r.App, r.Version, now, app.StateReceived, "", string(facts)); err != nil {
		return r, err
	}
	if _, err := tx.ExecContext(ctx, insertState, r.App, r.Version, app.StateReceived, r.Message, now, r.Signed, r.Kind, r.Author, r.Subject, r.Trace); err != nil {
		return r, err
	}
	r.State, r.Created = app.StateReceived, time.UnixMilli(now)
	return r, nil
}

// AddEvent appends an event to a release and updates the release's state.
func (s *Store) AddEvent(ctx context.Context, name string, version int, e Event) error {
	facts, err := json.Marshal(e)
	if err != nil {
		return err
	}
	processes, err := json.Marshal(e.Processes)
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		now := s.Now().UnixMilli()
		added, err := tx.ExecContext(ctx, insertEvent, name, version, now, e.State, e.Reason, string(facts))
		if err != nil {
			return err
		}
		var service, finished int64
		if len(e.Service) > 0 {
			if service, err = added.LastInsertId(); err != nil {
				return err
			}
		}
		if e.State.Final() {
			finished = now
		}
		changed, err := tx.ExecContext(ctx, updateState, e.State, e.Reason, e.Message, e.Repository, e.Digest, string(processes), e.Revision, service, finished, name, version)
		if err != nil {
			return err
		}
		if n, err := changed.RowsAffected(); err != nil {
			return err
		} else if n != 1 {
			return fmt.Errorf("release v%d of %s has no state", version, name)
		}
		if e.Configuration == nil {
			return nil
		}
		a, err := oneApp(ctx, tx, name)
		if err != nil {
			return err
		}
		return setCurrent(ctx, tx, a.ID, *e.Configuration)
	})
}
