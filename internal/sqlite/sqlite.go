// Package sqlite opens databases of SQLite so that a commit is on the disk when it returns, and migrates their schemas.
package sqlite

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite" // registers itself as "sqlite"
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

// Open opens the database in file with a number of connections, of which idle stay open; further callers wait. Each connection gets the pragmas, such as
// "cache_size(-8192)", beside WAL, synchronous=FULL and foreign keys. A transaction may write from its start.
func Open(file string, connections, idle int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(idle)
	return db, nil
}

// Create creates the file of a database, readable by its owner alone, if it does not exist. Its log gets the same mode.
func Create(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Migrate applies those of the migrations that the database has not had, in one transaction, and returns how many it had: PRAGMA user_version counts them. A
// database that had more than there are is left as it is, and newer makes the error.
func Migrate(db *sql.DB, migrations []string, newer func(have int) error) (have int, err error) {
	tx, err := db.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if err := tx.QueryRow("PRAGMA user_version").Scan(&have); err != nil {
		return 0, err
	}
	if have > len(migrations) {
		return have, newer(have)
	}
	if have == len(migrations) {
		return have, nil
	}
	for _, m := range migrations[have:] {
		if _, err := tx.Exec(m); err != nil {
			return have, err
		}
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return have, err
	}
	return have, tx.Commit()
}
