package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// AddKey registers a key. It returns an *app.Error with code CodeExists if its name or the key itself is registered already. Each of k.Apps is bound
// to the app of that name that exists now, or else to the first one that is created; its ID is looked up here.
func (s *Store) AddKey(ctx context.Context, k app.Key) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO keys (name, public, fingerprint, admin, apps, added) VALUES (?, ?, ?, ?, '[]', ?)",
			k.Name, k.Public, k.Fingerprint, k.Admin, s.Now().UnixNano()); err != nil {
			return err
		}
		for _, scope := range k.Apps {
			if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO key_apps (key, app, app_id)
				VALUES (?, ?, coalesce((SELECT id FROM apps WHERE name = ?), 0))`, k.Name, scope.Name, scope.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if taken(err) {
		if other, e := s.KeyByFingerprint(ctx, k.Fingerprint); e == nil {
			return app.Errorf(app.CodeExists, "remove it first: gitd keys remove "+other.Name, "this key is registered already, as %q", other.Name)
		}
		return app.Errorf(app.CodeExists, "choose another name, or remove it first: gitd keys remove "+k.Name, "a key named %q is registered already", k.Name)
	}
	return err
}

// KeyByFingerprint returns the key with a fingerprint ("SHA256:…"), or an *app.Error with code CodeNotFound.
func (s *Store) KeyByFingerprint(ctx context.Context, fingerprint string) (app.Key, error) {
	keys, err := listKeys(ctx, s.db, "WHERE fingerprint = ?", fingerprint)
	if err == nil && len(keys) == 0 {
		err = app.Errorf(app.CodeNotFound, "ask the operator to run: gitd keys add NAME < key.pub", "no key with fingerprint %s is registered", fingerprint)
	}
	if err != nil {
		return app.Key{}, err
	}
	return keys[0], nil
}

// KeyByName returns the key with a name, or an *app.Error with code CodeNotFound.
func (s *Store) KeyByName(ctx context.Context, name string) (app.Key, error) {
	keys, err := listKeys(ctx, s.db, "WHERE name = ?", name)
	if err == nil && len(keys) == 0 {
		err = noKey(name)
	}
	if err != nil {
		return app.Key{}, err
	}
	return keys[0], nil
}

// Keys returns all keys by name.
func (s *Store) Keys(ctx context.Context) ([]app.Key, error) { return listKeys(ctx, s.db, "") }

// RemoveKey forgets a key, or returns an *app.Error with code CodeNotFound.
func (s *Store) RemoveKey(ctx context.Context, name string) error {
	r, err := s.db.ExecContext(ctx, "DELETE FROM keys WHERE name = ?", name)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, noKey(name))
	}
	return nil
}

func listKeys(ctx context.Context, q querier, where string, args ...any) ([]app.Key, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, public, fingerprint, admin, added,
		(SELECT json_group_array(json_object('Name', app, 'ID', app_id)) FROM (SELECT app, app_id FROM key_apps WHERE key = name ORDER BY app)) AS scopes
		FROM keys `+where+" ORDER BY name", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app.Key
	for rows.Next() {
		var k app.Key
		var apps string
		var added int64
		if err := rows.Scan(&k.Name, &k.Public, &k.Fingerprint, &k.Admin, &added, &apps); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(apps), &k.Apps); err != nil {
			return nil, err
		}
		k.Added = time.Unix(0, added)
		all = append(all, k)
	}
	return all, rows.Err()
}

func noKey(name string) *app.Error {
	return app.Errorf(app.CodeNotFound, "see the keys: gitd keys list", "key %q does not exist", name)
}
