package store

import (
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Explain turns errors of the database in file that people can do something about into *app.Errors. It returns any other error unchanged.
func Explain(err error, file string) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the low byte is the kind of error
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return app.Errorf(app.CodeUnavailable, "stop gitd and restore a backup of it (docs/operations.md, Backup); keep the damaged file", "the database %s is damaged: %w", file, err)
	case sqlite3.SQLITE_FULL:
		return app.Errorf(app.CodeUnavailable, "make room on its disk", "the database %s cannot be written: the disk is full: %w", file, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return app.Errorf(app.CodeUnavailable, "check its owner and mode, and that its folder exists; run gitd as root", "the database %s cannot be opened for writing: %w", file, err)
	}
	return err
}

// newer is the error for a database, in file, that a later version has migrated. Nothing of it is touched.
func newer(have int, file string) error {
	return app.Errorf(app.CodeUnavailable, "run that gitd, or a later one; or restore a backup of before (docs/operations.md, Backup)",
		"the database %s was written by a newer gitd (schema %d, this one knows %d)", file, have, len(migrations))
}

// taken says whether err is that a row of that key is there already.
func taken(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE)
}
