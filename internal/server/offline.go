package server

import (
	"context"
	"errors"
	"io"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/store"
)

// Socket is the name of the control socket in the data directory.
const Socket = socketFile

// ErrLocked is in the chain when another process has the data directory.
var ErrLocked = errors.New("the data directory is in use")

// RunOffline runs a command on a data directory that no server runs on.
func RunOffline(ctx context.Context, data string, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	if databaseOnly(args) {
		if err := prepare(data); err != nil {
			return 1, err
		}
		if err := hasLedger(data); err != nil {
			return 1, err
		}
		db, err := store.Open(data + "/" + databaseFile)
		if err != nil {
			return 1, err
		}
		defer db.Close()
		return command.Run(ctx, &command.Services{Store: db, Database: data + "/" + databaseFile, URL: func(name string) string { return machineURL(offlineOptions(data, nil, nil), name) }}, app.Caller{Local: true}, args, stdin, stdout, stderr), nil
	}
	log := app.NewLog(stderr)
	before, err := platformOf(data)
	if err != nil {
		return 1, err
	}
	s, err := Open(ctx, offlineOptions(data, before, func(format string, a ...any) { log.Detail(format, a...) }))
	if err != nil {
		return 1, err
	}
	defer s.Close()
	if err := s.Start(ctx); err != nil {
		return 1, err
	}
	return s.Run(ctx, args, stdin, stdout, stderr), nil
}

// databaseOnly says whether a command needs nothing but the database, and so neither root nor the sandbox.
func databaseOnly(args []string) bool {
	if len(args) == 0 {
		return true
	}
	switch args[0] {
	case "keys", "releases", "version":
		return true
	case "apps":
		return len(args) == 1 || len(args) == 2 && args[1] == "--" || args[1] == "create"
	}
	return false
}
