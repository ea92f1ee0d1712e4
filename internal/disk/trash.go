package disk

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// retryAfter is how long what could not be removed is left alone.
const retryAfter = 10 * time.Minute

// Trash is a folder, on the file system of what it takes, for folders whose content is a stranger's and may be very much: they are out of the
// way at once, and removed in the background. What cannot be removed stays there and is tried again later; it is never an error of the caller.
type Trash struct {
	Dir string                           // made when it is needed
	Log func(format string, args ...any) // what cannot be removed; may be nil

	running sync.WaitGroup
	stopped atomic.Bool

	mu sync.Mutex // mu guards the following

	retry time.Time // when what is left is tried again; zero where nothing is
	busy  map[string]bool
}

// Discard takes path away, and is done with it when it returns. It need not exist. Where it cannot be moved, because there is
// no room for a name, say, it is removed in its place before Discard returns, and what cannot be removed is an error.
func (t *Trash) Discard(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	t.mu.Lock()
	due := !t.retry.IsZero() && time.Now().After(t.retry)
	t.mu.Unlock()
	if due {
		t.Empty()
	}
	to := filepath.Join(t.Dir, filepath.Base(path)+"-"+rand.Text()[:8])
	err := os.MkdirAll(t.Dir, 0o700)
	if err == nil {
		err = os.Rename(path, to)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return RemoveAll(path)
	}
	t.remove(to)
	return nil
}

// Empty begins to remove what is in the trash, of an earlier process too.
func (t *Trash) Empty() {
	t.mu.Lock()
	t.retry = time.Time{}
	t.mu.Unlock()
	left, err := os.ReadDir(t.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.failed(err)
	}
	for _, e := range left {
		t.remove(filepath.Join(t.Dir, e.Name()))
	}
}

func (t *Trash) remove(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[path] || t.stopped.Load() {
		return
	}
	if t.busy == nil {
		t.busy = map[string]bool{}
	}
	t.busy[path] = true
	t.running.Go(func() {
		err := removeAll(path, &t.stopped, nil)
		t.mu.Lock()
		delete(t.busy, path)
		t.mu.Unlock()
		if err != nil && !errors.Is(err, errStopped) {
			t.failed(err)
		}
	})
}

func (t *Trash) failed(err error) {
	t.mu.Lock()
	t.retry = time.Now().Add(retryAfter)
	t.mu.Unlock()
	if t.Log != nil {
		t.Log("disk: it stays in the trash and is tried again later: %v", clip(err))
	}
}

// clip shortens an error's path: a stranger's may be as long as he likes.
func clip(err error) error {
	var p *os.PathError
	if errors.As(err, &p) && len(p.Path) > 300 {
		return &os.PathError{Op: p.Op, Path: p.Path[:300] + "…", Err: p.Err}
	}
	return err
}

// Wait returns when all that was discarded is removed, or cannot be.
func (t *Trash) Wait() { t.running.Wait() }

// Close stops removing; the next process continues by Empty.
func (t *Trash) Close() {
	t.stopped.Store(true)
	t.running.Wait()
}

// SyncFileSystem puts all that was written to dir's file system on the disk.
func SyncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}
