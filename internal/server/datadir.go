package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/proxy"
	"golang.org/x/sys/unix"
)

// The files and folders of a data directory.
const (
	lockFile        = "lock"
	socketFile      = "gitd.sock"
	proxyFile       = "proxy.sock" // where the proxy waits for the next gitd
	stateFile       = "serve.json" // where a running server listens
	timingsFile     = "timings.jsonl"
	databaseFile    = "gitd.db"
	eventsFile      = "events.db"     // the brokers' log
	platformFile    = "platform.json" // where its apps run
	instanceFile    = "instance"      // what tells its objects on a cluster from those of another data directory
	pullDir         = "pulls"         // images that are being fetched
	hostKeyFile     = "ssh_host_ed25519_key"
	secretFile      = "secret.key"   // the key of the apps' configuration
	certificatesDir = "certificates" // of domains, with their keys
	acmeDir         = "acme"         // what gitd-acme keeps: accounts and certificates
	authorityDir    = "ca"           // the server's own authority for certificates
)

// prepare makes the data directory if need be, and makes it private to root: one that systemd made, or a mounted disk, is readable for
// everyone. It returns an *app.Error where it cannot be used. It needs no room on the disk.
func prepare(dir string) error {
	refuse := func(err error) error {
		return app.Errorf(app.CodeUnavailable, "run gitd as root, or name another folder: --data DIR", "the data directory %s cannot be used: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return refuse(err)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return refuse(err)
	}
	if err := private(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".write-test-")
	if isFull(err) {
		return nil // what is here serves on
	}
	if err != nil {
		return refuse(err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// hasLedger returns an *app.Error where a data directory has repositories of apps and no database: a server that begins a new one would
// give the apps to the first key that pushes their names.
func hasLedger(dir string) error {
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Size() > 0 {
			return nil
		}
	}
	apps, _ := filepath.Glob(filepath.Join(dir, "repositories", "*.git"))
	if len(apps) == 0 {
		return nil
	}
	return app.Errorf(app.CodeUnavailable, "put "+databaseFile+" back from a backup (docs/operations.md, Backup); to begin without those apps: gitd purge --yes --data "+dir,
		"the data directory %s has repositories (%d) and no %s: it does not say whose they are", dir, len(apps), databaseFile)
}

// isFull says whether an error comes from a disk without room for bytes or for files.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// private removes the access of others to the data directory and to what is in it.
func private(dir string) error {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return err
	}
	if me := os.Geteuid(); me == 0 && s.Uid != 0 {
		return app.Errorf(app.CodeUnavailable, fmt.Sprintf("give it to root: chown root: %s, or name another folder: --data DIR", dir),
			"the data directory %s belongs to another user (number %d)", dir, s.Uid)
	} else if me != 0 && int(s.Uid) != me {
		return nil // in a Pod a volume belongs to root, and the Pod alone has it
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	for _, name := range append(ownNames, databaseFile) {
		file := filepath.Join(dir, name)
		info, err := os.Lstat(file)
		if err != nil || info.Mode().Perm()&0o077 == 0 || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		if err := os.Chmod(file, info.Mode().Perm()&0o700); err != nil {
			return err
		}
	}
	return nil
}

// Adopt finds the proxy that has outlived the gitd before on a data directory; nil for none. It does not look for that of a gitd that runs.
func Adopt(data string) *proxy.Adopted {
	f, err := os.OpenFile(filepath.Join(data, lockFile), os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if takeLock(f) != nil {
		return nil
	}
	found, err := proxy.Adopt(filepath.Join(data, proxyFile))
	if err != nil {
		return nil
	}
	return found
}

// adopt finds the proxy that serves on for this server: it waits from now on, however long the start takes.
func (s *Server) adopt() {
	if (s.o.HandsOver || s.o.Offline) && s.o.Adopted == nil && s.o.platform() == config.Local {
		s.o.Adopted, _ = proxy.Adopt(s.path(proxyFile))
	}
	if found := s.o.Adopted; found != nil && s.o.Offline {
		if !found.Current() {
			s.o.Log("a proxy of another build serves the apps while there is no server: what changes takes effect when gitd serve is started")
			found.Close()
			s.o.Adopted = nil
			return
		}
		s.o.Config.Server.Domain = found.Domain()
	}
	if found := s.o.Adopted; found != nil {
		s.onClose(func() error { found.Close(); return nil })
	}
}

// lockWait bounds how long the lock of a gitd that has ended is waited for.
const lockWait = 5 * time.Second

// takeLock locks a data directory's file, which says who holds it. A gitd that was killed while it made a child leaves the lock to that until it runs its own program, which may take a while
// on a busy machine: it is waited for. A gitd that runs is not.
func takeLock(f *os.File) error {
	for until := time.Now().Add(lockWait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(until) {
			return err
		}
		text, _ := os.ReadFile(f.Name())
		if holder, e := strconv.Atoi(strings.TrimSpace(string(text))); e != nil || !errors.Is(unix.Kill(holder, 0), unix.ESRCH) {
			return err
		}
	}
}

// lock keeps a second server away from the data directory. The kernel gives it back when the process ends, however it ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if isFull(err) {
		return nil, app.Errorf(app.CodeUnavailable, "make room on the disk, or name another folder: --data DIR", "the disk of the data directory %s is full: %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	if err := takeLock(f); err != nil {
		holder, _ := os.ReadFile(f.Name())
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		e := app.Errorf(app.CodeUnavailable, "stop that one first, or name another folder: --data DIR",
			"another gitd (process %s) works on %s", strings.TrimSpace(string(holder)), dir)
		e.Err = ErrLocked
		return nil, e
	}
	text := fmt.Appendln(nil, os.Getpid())
	if _, err = f.WriteAt(text, 0); err == nil { // over the old one: it takes no room
		err = f.Truncate(int64(len(text)))
	}
	if err != nil && !isFull(err) { // the number is for people
		f.Close()
		return nil, err
	}
	return f, nil
}
