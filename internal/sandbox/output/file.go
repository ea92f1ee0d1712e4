package output

import (
	"cmp"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// file writes lines to the two files of an output, in a goroutine of its own: a write may take as long as the disk likes.
type file struct {
	name string
	most int64 // bytes of one file
	room int   // bytes that may wait

	woken  chan struct{} // there is something to write
	taken  chan struct{} // there is room again
	ending chan struct{} // closed: nothing comes any more
	ended  chan struct{}
	pause  time.Duration // before a write that failed is tried again

	f    *os.File
	size int64

	mu sync.Mutex // mu guards the following

	pending []byte // whole lines
	spare   []byte
	err     error // of the last write; nil where it went well
	last    error // the last one that there was
	writing bool
}

// longestWait is how long a slow disk may hold the app up, once each time that lines are left out.
const longestWait = 250 * time.Millisecond

func newFile(name string, most int64) *file {
	room := int(min(waiting, most/2))
	return &file{name: name, most: most, room: room, pending: make([]byte, 0, room), spare: make([]byte, 0, room),
		woken: make(chan struct{}, 1), taken: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{}), pause: time.Second}
}

// add hands a line over. Where too much waits already it waits too, but not long: then it returns false.
func (f *file) add(line []byte) bool {
	if f.put(line) {
		return true
	}
	select { // of an earlier time
	case <-f.taken:
	default:
	}
	if f.put(line) {
		return true
	}
	if f.failing() {
		return false
	}
	select {
	case <-f.taken:
	case <-time.After(longestWait):
	}
	return f.put(line)
}

func (f *file) put(line []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending)+len(line) > f.room {
		return false
	}
	f.pending = append(f.pending, line...)
	select {
	case f.woken <- struct{}{}:
	default:
	}
	return true
}

// failing says whether the last write failed.
func (f *file) failing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}

// empty says whether all is written.
func (f *file) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending) == 0 && !f.writing
}

// trouble says in words why lines could not be written.
func (f *file) trouble() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n syscall.Errno
	last := f.last
	f.last = nil
	if errors.As(last, &n) {
		return "the server could not write them: " + n.Error()
	}
	return "the server's disk is too slow"
}

// run writes what waits until close is called.
func (f *file) run() {
	defer close(f.ended)
	for more := true; more; {
		select {
		case <-f.woken:
		case <-f.ending:
			more = false
		}
		for {
			f.mu.Lock()
			b := f.pending
			f.pending, f.spare = f.spare[:0], b
			f.writing = len(b) > 0
			f.mu.Unlock()
			select {
			case f.taken <- struct{}{}:
			default:
			}
			if len(b) == 0 || !f.persist(b) {
				break
			}
		}
	}
	if f.f != nil {
		_ = f.f.Close()
	}
}

// close waits until all is written, but not longer than limit.
func (f *file) close(limit time.Duration) {
	close(f.ending)
	select {
	case <-f.ended:
	case <-time.After(limit):
	}
}

// persist writes b, again and again where the disk is full. It gives up when nothing comes any more, and returns false then.
func (f *file) persist(b []byte) bool {
	for tried := false; ; {
		n, err := f.write(b)
		b = b[n:]
		f.mu.Lock()
		if f.err != nil || err != nil {
			f.last = cmp.Or(err, f.err)
		}
		f.err = err
		f.mu.Unlock()
		if err == nil {
			return true // write writes all, or says why not
		}
		select {
		case <-f.ending:
			if tried {
				return false
			}
			tried = true
		case <-time.After(f.pause):
		}
	}
}

// write writes some of b. It changes files between lines only.
func (f *file) write(b []byte) (int, error) {
	if f.f != nil && f.size > 0 && f.size+int64(len(b)) > f.most {
		_ = f.f.Close()
		f.f = nil
	}
	if f.f == nil {
		if err := f.open(len(b)); err != nil {
			return 0, err
		}
	}
	n, err := f.f.Write(b)
	f.size += int64(n)
	return n, err
}

// open opens the file for appending. One that has no room for n bytes more becomes the older one.
func (f *file) open(n int) error {
	st, err := os.Stat(f.name)
	if err == nil && st.Size() > 0 && st.Size()+int64(n) > f.most {
		err = os.Rename(f.name, f.name+Older)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if f.f, err = os.OpenFile(f.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		f.f = nil
		return err
	}
	if st, err = f.f.Stat(); err != nil {
		return err
	}
	f.size = st.Size()
	return nil
}

// Append adds a line of gitd's own to an output that no Writer is at work on.
func Append(name string, now time.Time, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	b := appendLine(nil, now, []byte(text))
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		last := []byte{'\n'}
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' { // what a full disk has left of a line
			b = append([]byte{'\n'}, b...)
		}
	}
	_, err = f.Write(b)
	return err
}
