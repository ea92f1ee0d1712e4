// Package store keeps apps, keys and the ledger of releases in SQLite.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/sqlite"
)

// Store is the database. It is safe for concurrent use, by several processes as well.
type Store struct {
	// AppsPerKey is how many apps a key that is not an admin may own; 0 for no limit. It is set before the first use.
	AppsPerKey int
	// Now is the time that what is entered gets, and that previews expire by: time.Now. It is set before the first use.
	Now func() time.Time

	db      *sql.DB
	changes chan struct{}
}

// Bounds on what the database takes besides its file. The log is copied into the file at 4 MiB (SQLite's default); if a large transaction made it
// longer, it is truncated after that.
const (
	maxLog         = 16 << 20 // bytes of the log when it is not in use
	maxConnections = 16       // each with a cache of 2 MiB; further callers wait
	idle           = 4        // connections kept open
)

// Open opens the database in file, creating it if needed, and migrates its schema.
func Open(file string) (*Store, error) {
	if err := sqlite.Create(file); err != nil {
		return nil, err
	}
	db, err := sqlite.Open(file, maxConnections, idle, fmt.Sprintf("journal_size_limit(%d)", maxLog))
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, Now: time.Now, changes: make(chan struct{}, 1)}
	if err := s.migrate(file); err != nil {
		db.Close()
		if err = Explain(err, file); app.CodeOf(err) == app.CodeInternal {
			err = fmt.Errorf("database %s: %w", file, err)
		}
		return nil, err
	}
	return s, nil
}

func (s *Store) migrate(file string) error {
	have, err := sqlite.Migrate(s.db, migrations, func(have int) error { return newer(have, file) })
	if err != nil || have == 0 || have == len(migrations) {
		return err
	}
	_, err = s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)") // migrating a long ledger makes a long log
	return err
}

// change runs f in a transaction that may write from its start: what f reads is unchanged until the commit.
func (s *Store) change(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.changed()
	return nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }
