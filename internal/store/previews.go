package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// appPreviews has the apps that are previews, each of a branch of another app. An app is deleted after its previews.
const appPreviews = `
CREATE TABLE previews (
	app    TEXT PRIMARY KEY REFERENCES apps(name) ON DELETE CASCADE,
	parent TEXT NOT NULL REFERENCES apps(name),
	branch TEXT NOT NULL,
	pushed INTEGER NOT NULL, -- milliseconds
	ttl    INTEGER NOT NULL, -- milliseconds from the last push on
	UNIQUE (parent, branch)
) STRICT;
`

// Preview is an app that is a preview of another one.
type Preview struct {
	app.App
	Pushed  time.Time // the last time
	Expires time.Time // it is removed then, unless it is pushed again
}

const selectPreviews = `SELECT a.id, a.name, a.owner, a.created, p.parent, p.branch, p.pushed, p.ttl FROM previews p CROSS JOIN apps a ON a.name = p.app `

// Previews returns the previews of an app, the one that was pushed last first.
func (s *Store) Previews(ctx context.Context, parent string) ([]Preview, error) {
	return listPreviews(ctx, s.db, "WHERE p.parent = ? ORDER BY p.pushed DESC, p.app", parent)
}

// ExpiredPreviews returns the previews of all apps that were not pushed for longer than they stay.
func (s *Store) ExpiredPreviews(ctx context.Context) ([]Preview, error) {
	return listPreviews(ctx, s.db, "WHERE p.pushed + p.ttl <= ? ORDER BY p.pushed", s.Now().UnixMilli())
}

// PreviewOf returns the preview of a branch, or an *app.Error with code CodeNotFound.
func (s *Store) PreviewOf(ctx context.Context, parent, branch string) (Preview, error) {
	return previewOf(ctx, s.db, parent, branch)
}

// FindPreview returns the preview that is of this branch, or has this name, or an *app.Error with code CodeNotFound.
func (s *Store) FindPreview(ctx context.Context, parent, branchOrName string) (Preview, error) {
	p, err := s.PreviewOf(ctx, parent, branchOrName)
	if app.CodeOf(err) != app.CodeNotFound {
		return p, err
	}
	named, e := listPreviews(ctx, s.db, "WHERE p.parent = ? AND p.app = ?", parent, branchOrName)
	if e != nil || len(named) == 0 {
		return p, cmp.Or(e, err)
	}
	return named[0], nil
}

func previewOf(ctx context.Context, q querier, parent, branch string) (Preview, error) {
	found, err := listPreviews(ctx, q, "WHERE p.parent = ? AND p.branch = ?", parent, branch)
	if err == nil && len(found) == 0 {
		err = app.Errorf(app.CodeNotFound, "see the previews: gitd previews "+parent, "%s has no preview of the branch %q", parent, app.Plain(app.Clip(branch, 60)))
	}
	if err != nil {
		return Preview{}, err
	}
	return found[0], nil
}

func listPreviews(ctx context.Context, q querier, where string, args ...any) ([]Preview, error) {
	rows, err := q.QueryContext(ctx, selectPreviews+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Preview
	for rows.Next() {
		var p Preview
		var created, pushed, ttl int64
		if err := rows.Scan(&p.ID, &p.Name, &p.Owner, &created, &p.Parent, &p.Branch, &pushed, &ttl); err != nil {
			return nil, err
		}
		p.Created, p.Pushed, p.Expires = time.UnixMilli(created), time.UnixMilli(pushed), time.UnixMilli(pushed+ttl)
		all = append(all, p)
	}
	return all, rows.Err()
}

// ErrPreviewsFull is in the chain where an app has as many previews as it may.
var ErrPreviewsFull = errors.New("no more previews")

// EnterPreview notes that a branch of an app is pushed by caller, and creates its preview if there is none, in one transaction with the decision that the caller may push
// the app with this ID. The preview belongs to the app's owner, and is called by a name of its own (app.PreviewName) if its plain one is taken. Beyond limit it
// returns ErrPreviewsFull.
func (s *Store) EnterPreview(ctx context.Context, caller app.Caller, parent string, id int64, branch string, ttl time.Duration, limit int) (a app.App, made bool, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		if err := confirm(ctx, tx, caller, parent, id, app.VerbPush); err != nil {
			return err
		}
		now := s.Now().UnixMilli()
		p, err := previewOf(ctx, tx, parent, branch)
		if err == nil {
			a = p.App
			_, err = tx.ExecContext(ctx, "UPDATE previews SET pushed = ?, ttl = ? WHERE app = ?", now, ttl.Milliseconds(), a.Name)
			return err
		} else if app.CodeOf(err) != app.CodeNotFound {
			return err
		}
		var has int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM previews WHERE parent = ?", parent).Scan(&has); err != nil {
			return err
		}
		if has >= limit {
			return ErrPreviewsFull
		}
		of, err := oneApp(ctx, tx, parent)
		if err != nil {
			return err
		}
		if a, err = s.createPreview(ctx, tx, of, branch); err != nil {
			return err
		}
		made = true
		_, err = tx.ExecContext(ctx, "INSERT INTO previews (app, parent, branch, pushed, ttl) VALUES (?, ?, ?, ?, ?)", a.Name, parent, branch, now, ttl.Milliseconds())
		return err
	})
	return a, made, err
}

func (s *Store) createPreview(ctx context.Context, tx querier, parent app.App, branch string) (a app.App, err error) {
	for _, unique := range []bool{false, true} {
		a, err = createApp(ctx, tx, app.App{Name: app.PreviewName(parent.Name, branch, unique), Owner: parent.Owner, Created: s.Now(), Parent: parent.Name, Branch: branch})
		if c := app.CodeOf(err); err == nil || c != app.CodeExists && c != app.CodeInvalidName {
			return a, err
		}
	}
	return a, err
}
