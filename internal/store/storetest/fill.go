// Package storetest makes databases as the first gitd made them, of any size: for tests of bringing them up to date, and for measuring what a long
// history costs.
package storetest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	_ "modernc.org/sqlite" // registers itself as "sqlite"
)

// first is the schema of the first gitd (user_version 1). It never changes.
const first = `
CREATE TABLE apps (
	name    TEXT PRIMARY KEY,
	owner   TEXT NOT NULL,
	created INTEGER NOT NULL
) STRICT;
CREATE TABLE keys (
	name        TEXT PRIMARY KEY,
	public      TEXT NOT NULL,
	fingerprint TEXT NOT NULL UNIQUE,
	admin       INTEGER NOT NULL,
	apps        TEXT NOT NULL,
	added       INTEGER NOT NULL
) STRICT;
CREATE TABLE releases (
	app         TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	version     INTEGER NOT NULL,
	commit_id   TEXT NOT NULL,
	ref         TEXT NOT NULL,
	key         TEXT NOT NULL,
	rollback_of INTEGER NOT NULL,
	PRIMARY KEY (app, version)
) STRICT;
CREATE TABLE release_events (
	id      INTEGER PRIMARY KEY,
	app     TEXT NOT NULL,
	version INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	state   TEXT NOT NULL,
	reason  TEXT NOT NULL,
	facts   TEXT NOT NULL,
	FOREIGN KEY (app, version) REFERENCES releases(app, version) ON DELETE CASCADE
) STRICT;
CREATE INDEX release_events_by_release ON release_events (app, version, id);
CREATE TRIGGER releases_are_final BEFORE UPDATE ON releases BEGIN SELECT RAISE(ABORT, 'a release is never rewritten'); END;
CREATE TRIGGER release_events_are_final BEFORE UPDATE ON release_events BEGIN SELECT RAISE(ABORT, 'a release event is never rewritten'); END;
PRAGMA user_version = 1;
`

// Ledger says what Fill writes.
type Ledger struct {
	Apps     []string // names
	Releases int      // of each app; every seventh fails in its build, the others went live
	Owner    string   // of the apps; the key that pushed
	Commit   string   // of the newest release of each app: 40 hexadecimal digits; the others have one of their own
	// Service returns the Service of an app's release as JSON; nil: one as a small app has it.
	Service func(app string, version int) []byte
	// Digest returns the digest of the image of an app's release; nil: one that no registry has.
	Digest func(app string, version int) string
}

// Fill makes a database in file, as the first gitd would have left it.
func Fill(ctx context.Context, file string, l Ledger) error {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=synchronous(0)&_pragma=journal_mode(MEMORY)")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, first); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	release, err := tx.PrepareContext(ctx, "INSERT INTO releases VALUES (?, ?, ?, 'refs/heads/main', ?, 0)")
	if err != nil {
		return err
	}
	event, err := tx.PrepareContext(ctx, "INSERT INTO release_events (app, version, at, state, reason, facts) VALUES (?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for _, name := range l.Apps {
		if _, err := tx.ExecContext(ctx, "INSERT INTO apps VALUES (?, ?, ?)", name, l.Owner, at); err != nil {
			return err
		}
	}
	for v := 1; v <= l.Releases; v++ { // as it happens: the apps' releases lie between one another
		for n, name := range l.Apps {
			commit := fmt.Sprintf("%020x%020x", n+1, v)
			if v == l.Releases && l.Commit != "" {
				commit = l.Commit
			}
			if _, err := release.ExecContext(ctx, name, v, commit, l.Owner); err != nil {
				return err
			}
			for _, e := range l.events(name, v) {
				at += 100
				if _, err := event.ExecContext(ctx, name, v, at, e.state, e.reason, e.facts); err != nil {
					return err
				}
			}
		}
	}
	return tx.Commit()
}

type event struct{ state, reason, facts string }

func (l Ledger) events(name string, version int) []event {
	events := []event{{"received", "", `{"message":"change ` + fmt.Sprint(version) + `"}`}, {"building", "", "{}"}}
	if version%7 == 0 && version != l.Releases {
		return append(events, event{"failed", "the build failed: exit status 1", "{}"})
	}
	digest := fmt.Sprintf("sha256:%064x", version)
	if l.Digest != nil {
		digest = l.Digest(name, version)
	}
	service := SmallService
	if l.Service != nil {
		service = l.Service
	}
	image := map[string]any{"repository": name, "digest": digest, "processes": []map[string]any{{"type": "web", "command": []string{"./server"}, "default": true}}}
	built, _ := json.Marshal(image)
	image["revision"], image["service"] = fmt.Sprintf("%s-v%d", name, version), service(name, version)
	starting, _ := json.Marshal(image)
	return append(events, event{"built", "", string(built)}, event{"starting", "", string(starting)}, event{"shifting", "", "{}"}, event{"live", "", "{}"})
}

// SmallService is the Service of an app with ten environment variables, as JSON.
func SmallService(app string, version int) []byte {
	var env []string
	for i := range 10 {
		env = append(env, fmt.Sprintf(`{"name":"SETTING_%d","value":"%s"}`, i, strings.Repeat("value ", 12)))
	}
	return fmt.Appendf(nil, `{"apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"name":%q,"namespace":"default"},"spec":{"template":{"metadata":{"name":"%s-v%d",`+
		`"annotations":{"autoscaling.knative.dev/min-scale":"0","autoscaling.knative.dev/max-scale":"0","gitd.io/health-path":"/","gitd.io/health-timeout":"30s"}},`+
		`"spec":{"containers":[{"image":"%s@sha256:%064x","env":[%s],"ports":[{"containerPort":8080}],"resources":{"limits":{"memory":"512Mi"}}}],"timeoutSeconds":300}}}}`,
		app, app, version, app, version, strings.Join(env, ","))
}
