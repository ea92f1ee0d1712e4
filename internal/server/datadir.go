package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"golang.org/x/sys/unix"
)

// The files and folders of a data directory.
const (
	lockFile     = "lock"
	socketFile   = "gitd.sock"
	stateFile    = "serve.json" // where a running server listens
	timingsFile  = "timings.jsonl"
	databaseFile = "gitd.db"
	platformFile = "platform.json" // where its apps run
	instanceFile = "instance"      // what tells its objects on a cluster from those of another data directory
	hostKeyFile  = "ssh_host_ed25519_key"
)

// prepare makes the data directory if need be, private to root. It returns an *app.Error where it cannot be used.
func prepare(dir string) error {
	refuse := func(err error) error {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return app.Errorf(app.Unavailable, "run gitd as root, or name another folder: --data DIR", "the data directory %s cannot be used: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return refuse(err)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return refuse(err)
	}
	f, err := os.CreateTemp(dir, ".write-test-")
	if err != nil {
		return refuse(err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// lock keeps a second server away from the data directory. The kernel gives it back when the process ends, however it ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name())
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		e := app.Errorf(app.Unavailable, "stop that one first, or name another folder: --data DIR",
			"another gitd (process %s) works on %s", strings.TrimSpace(string(holder)), dir)
		e.Err = ErrLocked
		return nil, e
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
