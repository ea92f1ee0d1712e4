package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// configurations keeps the versions of the apps' configuration: the values sealed, beside them what may be seen. A version never changes but for how it is
// sealed, and with which digests; its values are dropped when no release needs them. The current version is the one that the next release gets.
const configurations = `
CREATE TABLE configurations (
	app_id    INTEGER NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
	version   INTEGER NOT NULL,
	created   INTEGER NOT NULL,
	author    TEXT NOT NULL,
	variables TEXT NOT NULL, -- JSON, without values
	recipient TEXT NOT NULL,
	sealed    BLOB,
	PRIMARY KEY (app_id, version)
) STRICT;
CREATE TABLE current_configurations (
	app_id  INTEGER PRIMARY KEY REFERENCES apps(id) ON DELETE CASCADE,
	version INTEGER NOT NULL
) STRICT;
`

const (
	configurationColumns = "SELECT c.version, c.created, c.author, c.variables, c.recipient, c.sealed FROM configurations c "
	queryConfiguration   = configurationColumns + "WHERE c.app_id = ? AND c.version = ?"
	queryCurrent         = configurationColumns + "CROSS JOIN current_configurations n ON n.app_id = c.app_id AND n.version = c.version WHERE c.app_id = ?"
)

// Configuration returns one version of an app's configuration, or an *app.Error with code CodeNotFound. Version 0 is the empty one.
func (s *Store) Configuration(ctx context.Context, appID int64, version int) (app.Configuration, error) {
	if version == 0 {
		return app.Configuration{}, nil
	}
	return oneConfiguration(s.db.QueryRowContext(ctx, queryConfiguration, appID, version))
}

// CurrentConfiguration returns the configuration that the app's next release gets: version 0 where nothing was ever set.
func (s *Store) CurrentConfiguration(ctx context.Context, appID int64) (app.Configuration, error) {
	c, err := oneConfiguration(s.db.QueryRowContext(ctx, queryCurrent, appID))
	if app.CodeOf(err) == app.CodeNotFound {
		return app.Configuration{}, nil
	}
	return c, err
}

func oneConfiguration(row interface{ Scan(...any) error }) (c app.Configuration, err error) {
	var created int64
	var variables string
	err = row.Scan(&c.Version, &created, &c.By, &variables, &c.Recipient, &c.Sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return c, app.Errorf(app.CodeNotFound, "see what there is: gitd config APP", "this version of the configuration does not exist")
	}
	if err != nil {
		return c, err
	}
	c.Created = time.UnixMilli(created)
	if err := json.Unmarshal([]byte(variables), &c.Variables); err != nil {
		return c, fmt.Errorf("configuration %d: %w", c.Version, err)
	}
	return c, nil
}

// AddConfiguration adds a version to an app's configuration, and makes it the current one if current is set. It returns the version.
func (s *Store) AddConfiguration(ctx context.Context, appID int64, c app.Configuration, current bool) (version int, err error) {
	variables, err := json.Marshal(c.Variables)
	if err != nil {
		return 0, err
	}
	err = s.change(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT 1 + coalesce(max(version), 0) FROM configurations WHERE app_id = ?", appID).Scan(&version); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO configurations (app_id, version, created, author, variables, recipient, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)",
			appID, version, s.Now().UnixMilli(), c.By, string(variables), c.Recipient, c.Sealed); err != nil {
			return err
		}
		if current {
			return setCurrent(ctx, tx, appID, version)
		}
		return nil
	})
	return version, err
}

// setCurrent makes a version the one that the app's next release gets; 0 for none.
func setCurrent(ctx context.Context, tx querier, appID int64, version int) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO current_configurations (app_id, version) VALUES (?1, ?2) ON CONFLICT (app_id) DO UPDATE SET version = ?2", appID, version)
	return err
}

// DropConfiguration forgets the values of one version of an app's configuration. What may be seen of them stays.
func (s *Store) DropConfiguration(ctx context.Context, appID int64, version int) error {
	_, err := s.db.ExecContext(ctx, "UPDATE configurations SET sealed = NULL WHERE app_id = ? AND version = ?", appID, version)
	return err
}

// DropConfigurations forgets the values of an app's configuration in all versions before the current one but those that needed names: a later one is of a
// release under way.
func (s *Store) DropConfigurations(ctx context.Context, appID int64, needed []int) error {
	keep, err := json.Marshal(append([]int{0}, needed...)) // not null
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, `UPDATE configurations SET sealed = NULL WHERE app_id = ?1 AND sealed IS NOT NULL
		AND version NOT IN (SELECT value FROM json_each(?2)) AND version < (SELECT version FROM current_configurations WHERE app_id = ?1)`, appID, string(keep))
	return err
}

// queryKeptFromPreviews finds out whether a version has a variable that builds see, and not those of previews.
const queryKeptFromPreviews = `SELECT EXISTS (SELECT 1 FROM configurations c, json_each(c.variables) v WHERE c.app_id = ?
	AND json_extract(v.value, '$.build') AND NOT coalesce(json_extract(v.value, '$.preview'), 0))`

// KeptFromPreviews reports whether builds of an app have ever had a variable of its configuration that its previews do not have.
func (s *Store) KeptFromPreviews(ctx context.Context, appID int64) (is bool, err error) {
	err = s.db.QueryRowContext(ctx, queryKeptFromPreviews, appID).Scan(&is)
	return is, err
}

// AppConfiguration is a configuration with the app that it belongs to.
type AppConfiguration struct {
	App   app.App
	Value app.Configuration
}

// CurrentConfigurations returns the current configuration of each app that has one, by the app's name.
func (s *Store) CurrentConfigurations(ctx context.Context) ([]AppConfiguration, error) {
	all, err := s.Apps(ctx)
	if err != nil {
		return nil, err
	}
	var list []AppConfiguration
	for _, a := range all {
		c, err := s.CurrentConfiguration(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		if c.Version > 0 {
			list = append(list, AppConfiguration{a, c})
		}
	}
	return list, nil
}

// Reseal calls f with each version that has values, of all apps, and keeps what f returns of it: how it is sealed and its digests. All of them change, or none.
func (s *Store) Reseal(ctx context.Context, f func(appID int64, c app.Configuration) (app.Configuration, error)) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		keys, err := sealedVersions(ctx, tx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			c, err := oneConfiguration(tx.QueryRowContext(ctx, queryConfiguration, k.app, k.version))
			if err != nil {
				return err
			}
			if c, err = f(k.app, c); err != nil {
				return err
			}
			variables, err := json.Marshal(c.Variables)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE configurations SET variables = ?, recipient = ?, sealed = ? WHERE app_id = ? AND version = ?",
				string(variables), c.Recipient, c.Sealed, k.app, k.version); err != nil {
				return err
			}
		}
		return nil
	})
}

type configurationKey struct {
	app     int64
	version int
}

func sealedVersions(ctx context.Context, tx querier) (keys []configurationKey, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT app_id, version FROM configurations WHERE sealed IS NOT NULL ORDER BY app_id, version")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k configurationKey
		if err := rows.Scan(&k.app, &k.version); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}
