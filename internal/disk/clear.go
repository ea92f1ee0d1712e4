package disk

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Clear is RemoveAll for a large folder of folders: it removes several of them at once, and reports about every interval how many
// files it has removed. Where something is mounted on the folder itself, it is emptied and stays.
func Clear(dir string, interval time.Duration, tell func(removed int64)) error {
	const atOnce = 4
	var removed atomic.Int64
	var errs []error
	var mu sync.Mutex
	var running sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for _, path := range inside(dir) {
		running.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := removeAll(path, nil, &removed); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tell(removed.Load())
			continue
		case <-done:
		}
		break
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := RemoveAll(dir)
	if left, e := os.ReadDir(dir); errors.Is(err, unix.EBUSY) && e == nil && len(left) == 0 {
		return nil
	}
	return err
}

// inside lists what is in a folder and in its folders.
func inside(dir string) (paths []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if e.IsDir() {
			below, _ := os.ReadDir(at)
			for _, b := range below {
				paths = append(paths, filepath.Join(at, b.Name()))
			}
		}
	}
	return paths
}
