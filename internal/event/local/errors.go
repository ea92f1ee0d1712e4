package local

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gitd-io/gitd/internal/app"
)

// explain makes errors of the disk ones for people.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return app.Errorf(app.CodeUnavailable, "send it again later; the operator makes room on the disk", "the broker's disk is full: %w", err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return app.Errorf(app.CodeUnavailable, "send it again later; the operator looks at the disk", "the broker's disk does not take it: %w", err)
	}
	return err
}
