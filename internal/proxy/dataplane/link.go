package dataplane

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// link is a connection to the app in an instance, over which the goroutine that serves a client speaks HTTP/1.1 itself.
type link struct {
	net.Conn
	instance *Instance
	fd       int    // of the connection; -1 where it has none
	reused   bool   // it carried a request before this one
	buffer   []byte // what was read and not yet used is buffer[from:to]
	small    []byte // the buffer of an answer that was short; nil while it is in use
	from, to int
	back     time.Time // when it was given back
	until    time.Time // until when it may be read, where a session has it; zero: as SetReadDeadline was told
}

const (
	linkBuffer  = 4 << 10  // a usual response fits in
	streamSize  = 32 << 10 // for what is longer
	mostHead    = 16 << 10 // a longer head is left to net/http
	mostIdle    = 1024     // links that wait for a request, of an instance
	idleTime    = 1500 * time.Millisecond
	collectTime = 250 * time.Millisecond
)

// fill reads more. What the buffer holds is moved, so that slices of it are no longer valid.
func (l *link) fill() error {
	if l.from == l.to {
		full := l.to == len(l.buffer)
		if l.from, l.to = 0, 0; full { // more comes than a usual answer has
			l.grow()
		}
	}
	if l.to == len(l.buffer) {
		if l.from > 0 {
			l.to = copy(l.buffer, l.buffer[l.from:l.to])
			l.from = 0
		} else {
			l.grow()
		}
	}
	n, err := l.Conn.Read(l.buffer[l.to:])
	l.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// limit sets when reads end.
func (l *link) limit(t time.Time) {
	l.until = time.Time{}
	_ = l.SetReadDeadline(t)
}

// grow makes room in the buffer.
func (l *link) grow() {
	if len(l.buffer) >= streamSize { // its users take what it holds before they ask for more
		return
	}
	b := buffers.Get()
	l.to = copy(b, l.buffer[:l.to])
	l.small, l.buffer = l.buffer, b
}

// shrink gives back what grow took.
func (l *link) shrink() {
	if l.small != nil {
		buffers.Put(l.buffer)
		l.small, l.buffer = nil, l.small
	}
	l.from, l.to = 0, 0
}

// Read reads what the buffer holds, then from the connection.
func (l *link) Read(b []byte) (int, error) {
	if l.from < l.to {
		n := copy(b, l.buffer[l.from:l.to])
		l.from += n
		return n, nil
	}
	return l.Conn.Read(b)
}

// alive says whether a link that waited can carry a request: the app has not closed it, nor sent what was not asked for, which would be taken for the answer.
// It does not block: the call is made without the scheduler's knowing.
func (l *link) alive() bool {
	if l.fd < 0 {
		return true
	}
	var b [1]byte
	_, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(l.fd), uintptr(unsafe.Pointer(&b[0])), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return e == syscall.EAGAIN
}

// links are those of an instance that wait for a request, the one that came last on top. No lock is taken: each is put into an element of its own, so
// that the same element does not come back while another goroutine looks at it.
type links struct {
	top     atomic.Pointer[idleLink]
	count   atomic.Int64
	collect atomic.Bool // collection is under way
}

type idleLink struct {
	*link
	next *idleLink
}

func (s *links) push(e *idleLink) {
	for {
		e.next = s.top.Load()
		if s.top.CompareAndSwap(e.next, e) {
			return
		}
	}
}

func (s *links) pop() *link {
	for {
		e := s.top.Load()
		if e == nil {
			return nil
		}
		if s.top.CompareAndSwap(e, e.next) {
			s.count.Add(-1)
			return e.link
		}
	}
}

// link returns a connection to the app: one that waits, or a new one.
func (i *Instance) link(ctx func() context.Context, now time.Time) (*link, error) {
	for {
		l := i.idle.pop()
		if l == nil {
			break
		}
		if now.Sub(l.back) < idleTime && l.alive() {
			l.reused = true
			return l, nil
		}
		_ = l.Close()
	}
	c, err := i.dial(ctx())
	if err != nil {
		return nil, &dialError{err}
	}
	l := &link{Conn: c, instance: i, fd: -1, buffer: make([]byte, linkBuffer)}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { l.fd = int(fd) })
		}
	}
	return l, nil
}

// giveBack lets another request have the link. All of the answer was read, and nothing else.
func (l *link) giveBack(now time.Time) {
	s := &l.instance.idle
	if l.from != l.to || s.count.Load() >= mostIdle {
		_ = l.Close()
		return
	}
	l.shrink()
	l.back = now
	s.count.Add(1)
	s.push(&idleLink{link: l})
	if s.collect.CompareAndSwap(false, true) {
		time.AfterFunc(collectTime, s.closeOld)
	}
}

// closeOld closes the links that have waited for too long.
func (s *links) closeOld() {
	now := time.Now()
	var fresh []*idleLink
	for e := s.top.Swap(nil); e != nil; e = e.next {
		if now.Sub(e.back) < idleTime {
			fresh = append(fresh, e)
			continue
		}
		s.count.Add(-1)
		_ = e.Close()
	}
	for i := len(fresh) - 1; i >= 0; i-- {
		s.push(&idleLink{link: fresh[i].link})
	}
	if s.top.Load() == nil {
		s.collect.Store(false)
		if s.top.Load() == nil || !s.collect.CompareAndSwap(false, true) {
			return
		}
	}
	time.AfterFunc(collectTime, s.closeOld)
}

// closeAll closes those that wait.
func (s *links) closeAll() {
	for l := s.pop(); l != nil; l = s.pop() {
		_ = l.Close()
	}
}
