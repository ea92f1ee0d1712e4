// Package store keeps apps, keys and the ledger of releases in SQLite.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"modernc.org/sqlite" // registers itself as "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The log stays when the database is closed, so that the next process needs no disk space to open it.
func init() {
	sqlite.RegisterConnectionHook(func(c sqlite.ExecQuerierContext, _ string) error {
		if f, ok := c.(sqlite.FileControl); ok {
			_, err := f.FileControlPersistWAL("main", 1)
			return err
		}
		return nil
	})
}

// Store is the database. It is safe for concurrent use, by several processes as well.
type Store struct {
	// AppsPerKey is how many apps a key that is not an admin may own; 0 for no limit. It is set before the first use.
	AppsPerKey int
	// Now is the time that what is entered gets, and that previews expire by: time.Now. It is set before the first use.
	Now func() time.Time

	db *sql.DB
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
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600) // its log gets the same mode
	if err != nil {
		return nil, err
	}
	f.Close()
	q := url.Values{}
	for _, p := range []string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", fmt.Sprintf("journal_size_limit(%d)", maxLog)} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(idle)
	s := &Store{db: db, Now: time.Now}
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
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var have int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > len(migrations) {
		return newer(have, file)
	}
	if have == len(migrations) {
		return nil
	}
	for _, m := range migrations[have:] {
		if _, err := tx.Exec(m); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil || have == 0 {
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
	return tx.Commit()
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

func taken(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE)
}
