// Package cache is the folder in which builder images and their parts are made and kept, shared by all processes of the machine: the server and
// the commands read it, gitd-builder fills it.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Cache is the directory that everything is made in and kept in:
//
//	builder/KEY         link to builder/KEY-DIGEST, an OCI layout with a builder image and its run image
//	stage/NAME-KEY/     one layer that took long to make: layer.tar.gz, layer.json
//	image/KEY           likewise a link to an OCI layout, of a base image that was pulled
//	layers/             unpacked layers, kept by package sandbox
//	run/DIFF-ID         marks the layers of run images, which are never removed
//	tmp/                work in progress of the process that holds the lock
//	digest-KEY          the digest of a program that goes into our builder
//	lock
//
// prune.go says what goes when.
type Cache struct {
	Dir string
	Log *app.Log
}

// Default is gitd's folder in the user's cache directory: $XDG_CACHE_HOME/gitd, ~/.cache/gitd, or /var/cache/gitd for a
// service that has neither.
func Default() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		if os.Getenv("XDG_CACHE_HOME") == "" {
			return "/var/cache/gitd", nil
		}
		return "", app.Errorf(app.CodeInvalidInput, "set XDG_CACHE_HOME to an absolute path, or unset it", "the cache directory cannot be used: %w", err)
	}
	return filepath.Join(dir, "gitd"), nil
}

// Open returns the cache in dir, by default in Default; log is told of progress, and may be nil.
func Open(dir string, log *app.Log) (*Cache, error) {
	if dir == "" {
		var err error
		if dir, err = Default(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &Cache{Dir: dir, Log: log}
	if c.Log == nil {
		c.Log = app.NewLog(io.Discard)
	}
	// Unpacked systems have set-user-ID programs, which are nothing for the users of this machine: such folders are root's alone.
	for d, mode := range map[string]os.FileMode{"builder": 0o755, "stage": 0o755, "image": 0o755, "run": 0o755, "layers": 0o700, "tmp": 0o700} {
		err := os.MkdirAll(filepath.Join(dir, d), mode)
		if err == nil {
			err = os.Chmod(filepath.Join(dir, d), mode)
		}
		if err != nil {
			return nil, app.Errorf(app.CodeUnavailable, "make the folder writable, or set XDG_CACHE_HOME to one that is", "the cache %s cannot be written: %w", dir, err)
		}
	}
	return c, nil
}

// LayersDir is the folder of the unpacked layers, for sandbox.OpenLayers.
func (c *Cache) LayersDir() string { return filepath.Join(c.Dir, "layers") }

// Lock waits until no other process makes a builder in this cache, then clears what a killed one has left. The lock ends with
// the process that holds it, however that ends.
func (c *Cache) Lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	var p *Progress
	for tick := 10 * time.Millisecond; ; tick = min(2*tick, 500*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			p.Stop()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if p == nil {
			holder, _ := io.ReadAll(io.NewSectionReader(f, 0, 20))
			p = Start(c.Log, 0, "Waiting for process %s, which makes the builder image in %s", strings.TrimSpace(string(holder)), c.Dir)
		}
		select {
		case <-ctx.Done():
			f.Close()
			p.Stop()
			return nil, context.Cause(ctx)
		case <-time.After(tick):
		}
	}
	p.Stop()
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err := c.clean(); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		_ = c.clean()
		f.Close()
	}, nil
}

// clean removes work in progress. Only the holder of the lock may.
func (c *Cache) clean() error {
	entries, err := os.ReadDir(filepath.Join(c.Dir, "tmp"))
	for _, e := range entries {
		if err := disk.RemoveAll(filepath.Join(c.Dir, "tmp", e.Name())); err != nil {
			return err
		}
	}
	return err
}

// Temp makes a folder for work in progress. It is on the file system of the entries, so that finished work moves by rename.
func (c *Cache) Temp(name string) (string, error) {
	d, err := os.MkdirTemp(filepath.Join(c.Dir, "tmp"), name+"-")
	if err == nil {
		err = os.Chmod(d, 0o755)
	}
	return d, err
}

// Put makes the folder dir the entry that link (below the cache's directory) names. A folder that was there stays under its own name: another
// process may be reading it.
func (c *Cache) Put(dir, link, digest string) (string, error) {
	if err := SyncFileSystem(dir); err != nil {
		return "", err
	}
	link = filepath.Join(c.Dir, link)
	_, hex, _ := strings.Cut(digest, ":")
	final := link + "-" + hex[:min(16, len(hex))]
	if err := os.Rename(dir, final); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		return "", err
	}
	next := filepath.Join(c.Dir, "tmp", filepath.Base(final)+".link")
	_ = os.Remove(next)
	if err := os.Symlink(filepath.Base(final), next); err != nil {
		return "", err
	}
	return final, os.Rename(next, link)
}

// SyncFileSystem makes sure that an entry that is there after a power cut is whole.
func SyncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// NeedSpace fails early, and in words, where the disk is too full for what comes.
func (c *Cache) NeedSpace(bytes int64) error {
	free, err := disk.Free(c.Dir)
	if err != nil {
		return err
	}
	if short := free.Short(bytes); short != "" {
		return app.Errorf(app.CodeUnavailable, "free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
			"there is too little disk space in %s to make the builder image: %s", c.Dir, short)
	}
	return nil
}

// DiskFull words an error that comes of a full disk.
func DiskFull(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return app.Errorf(app.CodeUnavailable, "free some space, or set XDG_CACHE_HOME to a folder on a larger disk", "the disk of %s is full: %w", dir, err)
	}
	return err
}
