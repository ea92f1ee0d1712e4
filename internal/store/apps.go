package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// CreateApp adds an app. It returns an *app.Error with code Exists when there is one of that name, and InvalidName when the name cannot stand
// beside another's (app.Clash).
func (s *Store) CreateApp(ctx context.Context, name, owner string) error {
	s.creating.Lock()
	defer s.creating.Unlock()
	exists := app.Errorf(app.Exists, "choose another name", "an app named %q exists already", name)
	if _, err := s.App(ctx, name); err == nil {
		return exists
	} else if app.CodeOf(err) != app.NotFound {
		return err
	}
	all, err := s.Apps(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		if why := app.Clash(name, a.Name); why != "" {
			return app.Errorf(app.InvalidName, "choose another name", "the name %q cannot be used: %s", name, why)
		}
	}
	_, err = s.db.ExecContext(ctx, "INSERT INTO apps (name, owner, created) VALUES (?, ?, ?)", name, owner, s.now().UnixMilli())
	if taken(err) { // by another process
		return exists
	}
	return err
}

// EnsureApp is CreateApp, but that it is no error where the app exists.
func (s *Store) EnsureApp(ctx context.Context, name, owner string) error {
	if err := s.CreateApp(ctx, name, owner); err != nil && app.CodeOf(err) != app.Exists {
		return err
	}
	return nil
}

// App returns one app, or an *app.Error with code NotFound.
func (s *Store) App(ctx context.Context, name string) (app.App, error) {
	a := app.App{Name: name}
	var created int64
	err := s.db.QueryRowContext(ctx, "SELECT owner, created FROM apps WHERE name = ?", name).Scan(&a.Owner, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return a, notFound("app", name, "see what there is: gitd apps")
	}
	a.Created = time.UnixMilli(created)
	return a, err
}

// Apps returns all apps by name.
func (s *Store) Apps(ctx context.Context) ([]app.App, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT name, owner, created FROM apps ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app.App
	for rows.Next() {
		var a app.App
		var created int64
		if err := rows.Scan(&a.Name, &a.Owner, &created); err != nil {
			return nil, err
		}
		a.Created = time.UnixMilli(created)
		all = append(all, a)
	}
	return all, rows.Err()
}

// DeleteApp removes an app and its ledger, or returns an *app.Error with code NotFound.
func (s *Store) DeleteApp(ctx context.Context, name string) error {
	r, err := s.db.ExecContext(ctx, "DELETE FROM apps WHERE name = ?", name)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, notFound("app", name, "see what there is: gitd apps"))
	}
	return nil
}
