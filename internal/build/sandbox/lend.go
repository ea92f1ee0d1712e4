package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Bounds of a cache that is copied for another app: more than that takes as long as a build.
const (
	maxLentBytes = 1 << 30
	maxLentFiles = 30_000
	lendWait     = 100 * time.Millisecond // for a build that uses the cache
)

// lendCache copies what the builds of one app have kept for those of another one that has kept nothing yet. Where the cache is in use, or large, nothing is copied.
func (e *Engine) lendCache(ctx context.Context, from app.App, to string, owner int) error {
	if n, err := app.ParseName(from.Name); err != nil || n != from.Name {
		return fmt.Errorf("%q is no app: %w", from.Name, err)
	}
	for _, dir := range e.cacheDirs(to) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	soon, cancel := context.WithTimeout(ctx, lendWait)
	defer cancel()
	release, err := e.sessions.Lock(soon, from.Name)
	if err != nil {
		return ctx.Err()
	}
	defer release()
	dirs := e.cacheDirs(from.Name)
	if disk.Measure(ctx, dirs...).Over(maxLentBytes, maxLentFiles) {
		return nil
	}
	theirs := int(e.opts.Host.UID(from.ID, from.Name))
	lent := filepath.Join(e.appDir(to), "lent") // root's alone until all is there
	if err := os.MkdirAll(e.appDir(to), 0o711); err != nil {
		return err
	}
	e.discard(lent)
	if err := os.Mkdir(lent, 0o700); err != nil {
		return err
	}
	defer e.discard(lent)
	c := copier{owners: owners{theirs, theirs, owner}, bytes: maxLentBytes, files: maxLentFiles}
	for _, dir := range dirs {
		err := c.add(dir, filepath.Join(lent, filepath.Base(dir)))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errTooLarge) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	for _, dir := range e.cacheDirs(to) {
		if err := os.Rename(filepath.Join(lent, filepath.Base(dir)), dir); err != nil {
			return err
		}
	}
	return nil
}
