package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Socket is the name of the control socket in the data directory.
const Socket = socketFile

// ErrLocked is in the chain when another process has the data directory.
var ErrLocked = errors.New("the data directory is in use")

// RunOffline runs a command as root on a data directory that no server runs on: on its ledger alone where that is all that it needs, else with all of gitd opened
// in this process for as long as it takes. It returns an *app.Error where the directory cannot be used.
func RunOffline(ctx context.Context, data string, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	asked, err := command.Declared(args)
	if err != nil { // no command line: Run says why
		return command.Run(ctx, &operation.Services{}, app.Root, args, stdin, stdout, stderr, nil), nil
	}
	if asked.Needs == operation.NeedsServer {
		return runWithServer(ctx, asked, data, args, stdin, stdout, stderr)
	}
	services := &operation.Services{}
	if asked.Needs == operation.NeedsStore {
		if err := prepare(data); err != nil {
			return 1, err
		}
		if err := hasLedger(data); err != nil {
			return 1, err
		}
		file := filepath.Join(data, databaseFile)
		db, err := store.Open(file)
		if err != nil {
			return 1, err
		}
		defer db.Close()
		before, err := platformOf(data)
		if err != nil {
			return 1, err
		}
		services = &operation.Services{Store: db, Config: secret.New(db, keyFile(data, offlineOptions(data, before, nil).Config.Server.SecretKey)), Database: file, LogDir: releaseLogs(data),
			URL: func(name string) string { return machineURL(offlineOptions(data, nil, nil), name) }}
	}
	return command.Run(ctx, services, app.Root, args, stdin, stdout, stderr, nil), nil
}

// runWithServer stands in for the server of a data directory.
func runWithServer(ctx context.Context, asked operation.Declaration, data string, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	if _, err := os.Stat(filepath.Join(data, databaseFile)); errors.Is(err, fs.ErrNotExist) { // nothing to work on, and a wrong --data makes no directory
		if err := hasLedger(data); err != nil {
			return 1, err
		}
		return 1, operation.NoServer(asked, data)
	}
	log := app.NewLog(stderr)
	before, err := platformOf(data)
	if err != nil {
		return 1, err
	}
	o := offlineOptions(data, before, telemetry.Messages(log.Detail))
	o.Offline = true
	s, err := Open(ctx, o)
	if err != nil {
		return 1, err
	}
	defer s.Close()
	if s.o.Adopted != nil { // the proxy of a server that is gone serves on: it learns what changes
		if err := s.runner.serve(Listeners{}); err != nil {
			return 1, err
		}
	}
	if err := s.Start(ctx); err != nil {
		return 1, err
	}
	return s.Run(ctx, args, stdin, stdout, stderr, nil), nil
}

// jobLogs is the folder with the logs of jobs.
func jobLogs(data string) string { return filepath.Join(data, "logs", "jobs") }

// releaseLogs is the folder with the logs of pushes.
func releaseLogs(data string) string { return filepath.Join(data, "logs", "releases") }
