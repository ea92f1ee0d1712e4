package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// querier is the database, or a transaction on it.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// CreateApp adds an app. It returns an *app.Error with code CodeExists if an app of that name exists, and CodeInvalidName if the name conflicts with
// another app's (app.Clash), or is app.Brokers.
func (s *Store) CreateApp(ctx context.Context, name, owner string) (a app.App, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		a, err = createApp(ctx, tx, app.App{Name: name, Owner: owner, Created: s.Now()})
		return err
	})
	return a, err
}

// EnsureApp is like CreateApp, but returns an app that exists already, whichever key owns it.
func (s *Store) EnsureApp(ctx context.Context, name, owner string) (app.App, error) {
	a, err := s.CreateApp(ctx, name, owner)
	if app.CodeOf(err) == app.CodeExists {
		return s.App(ctx, name)
	}
	return a, err
}

// createApp adds a to the database, with an ID that was never used before.
func createApp(ctx context.Context, tx querier, a app.App) (app.App, error) {
	all, err := listApps(ctx, tx, "")
	if err != nil {
		return a, err
	}
	for _, other := range all {
		if other.Name == a.Name {
			return a, app.Errorf(app.CodeExists, "choose another name", "an app named %q exists already", a.Name)
		}
		if why := app.Clash(a.Name, other.Name); why != "" {
			return a, app.Errorf(app.CodeInvalidName, "choose another name", "the name %q cannot be used: %s", a.Name, why)
		}
	}
	if a.Name == app.Brokers { // an app of an older version may have it
		return a, app.Errorf(app.CodeInvalidName, "choose another name", "the name %q cannot be used: brokers take events there", a.Name)
	}
	if err := tx.QueryRowContext(ctx, "UPDATE last_ids SET id = id + 1 WHERE kind = 'app' RETURNING id").Scan(&a.ID); err != nil {
		return a, err
	}
	created := a.Created.UnixMilli()
	a.Created = time.UnixMilli(created)
	if _, err = tx.ExecContext(ctx, "INSERT INTO apps (id, name, owner, created) VALUES (?, ?, ?, ?)", a.ID, a.Name, a.Owner, created); err != nil {
		return a, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE key_apps SET app_id = ? WHERE app = ? AND app_id = 0", a.ID, a.Name) // keys bound to the name
	return a, err
}

// App returns one app, or an *app.Error with code CodeNotFound.
func (s *Store) App(ctx context.Context, name string) (app.App, error) {
	return oneApp(ctx, s.db, name)
}

func oneApp(ctx context.Context, q querier, name string) (app.App, error) {
	all, err := listApps(ctx, q, "WHERE name = ?", name)
	if err == nil && len(all) == 0 {
		err = app.NoApp(name)
	}
	if err != nil {
		return app.App{Name: name}, err
	}
	return all[0], nil
}

// Apps returns all apps by name, previews too.
func (s *Store) Apps(ctx context.Context) ([]app.App, error) { return listApps(ctx, s.db, "") }

func listApps(ctx context.Context, q querier, where string, args ...any) ([]app.App, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, name, owner, created, coalesce(parent, ''), coalesce(branch, '') FROM apps LEFT JOIN previews ON app = name "+where+" ORDER BY name", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app.App
	for rows.Next() {
		var a app.App
		var created int64
		if err := rows.Scan(&a.ID, &a.Name, &a.Owner, &created, &a.Parent, &a.Branch); err != nil {
			return nil, err
		}
		a.Created = time.UnixMilli(created)
		all = append(all, a)
	}
	return all, rows.Err()
}

// DeleteApp removes the app with this ID and its ledger. It does nothing if there is no such app, and fails if the app has previews.
func (s *Store) DeleteApp(ctx context.Context, id int64) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM apps WHERE id = ?", id)
	if err == nil {
		s.changed()
	}
	return err
}
