package disk

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What is written is on the disk some time later. A power cut in between leaves folders with all their names and empty files. So a folder whose
// presence means that it is whole gets a mark once all of it is on the disk; the mark is an attribute of the folder itself, and takes no room.
// After a start of the machine, and only then, what has no mark may be broken.
const mark = "trusted.gitd.whole"

// settleAfter is how long folders gather before the file system is synced for all of them.
const settleAfter = time.Second

// Settler marks folders of one file system, in the background: its callers do not wait for the disk.
type Settler struct {
	Dir string                           // holds the folders, or folders that hold them
	Log func(format string, args ...any) // may be nil

	mu sync.Mutex // mu guards the following

	count   int            // of calls of Settle
	pending map[string]int // by path: the last call for it
	running bool
}

// Settle has a folder marked when all that was written to it until now is on the disk.
func (s *Settler) Settle(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		s.pending = map[string]int{}
	}
	s.count++
	s.pending[path] = s.count
	if !s.running {
		s.running = true
		go s.run()
	}
}

// Unsettle takes the mark away, before a folder is changed.
func (s *Settler) Unsettle(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, path)
	_ = unix.Lremovexattr(path, mark)
}

func (s *Settler) run() {
	for {
		time.Sleep(settleAfter)
		s.mu.Lock()
		now := s.pending
		s.pending = map[string]int{}
		for path, n := range now {
			s.pending[path] = n // until it is marked
		}
		s.mu.Unlock()
		err := SyncFileSystem(s.Dir)
		if err != nil && s.Log != nil {
			s.Log("disk: %v", err)
		}
		s.mu.Lock()
		for path, n := range now {
			if s.pending[path] != n { // changed meanwhile
				continue
			}
			delete(s.pending, path)
			if err == nil {
				_ = unix.Lsetxattr(path, mark, []byte("1"), 0) // one that is gone needs none
			}
		}
		s.running = len(s.pending) > 0
		again := s.running
		s.mu.Unlock()
		if !again {
			return
		}
	}
}

// Settled tells whether a folder is marked.
func Settled(path string) bool {
	n, err := unix.Lgetxattr(path, mark, make([]byte, 1))
	return err == nil && n == 1
}

// AfterBoot calls suspect once for each start of the machine, before it returns for the first caller, also of several processes: what has no
// mark now was not on the disk for certain when the machine went down. The file, which is made if need be, says in which run of the machine
// that was the last time; where it does not, suspect is not called: nothing is known.
func AfterBoot(file string, suspect func() error) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	return afterBoot(file, boot, suspect)
}

func afterBoot(file string, boot []byte, suspect func() error) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	was := make([]byte, len(boot))
	n, _ := f.ReadAt(was, 0)
	if bytes.Equal(was[:n], boot) {
		return nil
	}
	if n > 0 {
		if err := suspect(); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(boot, 0)
	return errors.Join(err, f.Sync())
}
