package wire

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Link is a Conn that never keeps who tells something waiting: a queue takes it, and a goroutine sends it. So a peer that is stopped stops nothing here.
type Link struct {
	*Conn
	more chan struct{} // has an element while there may be something in the queue
	done chan struct{} // closed when the link has ended

	mu sync.Mutex // mu guards the following

	queue []*item
	keyed map[string]*item // of the queue
	ended bool
	err   error // why
}

type item struct {
	key   string
	frame Frame
}

// NewLink returns a Link over a stream socket whose other side is of the same build.
func NewLink(c *net.UnixConn) *Link { return newLink(NewConn(c)) }

// Greeting returns a Link over a stream socket whose other side may be of another build: nothing but what lasts is told until it is known what it speaks.
func Greeting(c *net.UnixConn, ours Versions) *Link { return newLink(greeting(c, ours)) }

func newLink(c *Conn) *Link {
	l := &Link{Conn: c, more: make(chan struct{}, 1), done: make(chan struct{}), keyed: map[string]*item{}}
	go l.send()
	return l
}

// Tell queues a message. Its files belong to the link from then on.
func (l *Link) Tell(kind Kind, message any, files ...*os.File) {
	l.TellLast("", kind, message, files...)
}

// TellLast queues a message that takes the place of one with the same key that is still in the queue.
func (l *Link) TellLast(key string, kind Kind, message any, files ...*os.File) {
	f, err := New(kind, message, files...)
	if err != nil {
		(&Frame{Files: files}).Close()
		l.End(err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		f.Close()
		return
	}
	if there := l.keyed[key]; key != "" && there != nil {
		there.frame.Close()
		there.frame = f
		return
	}
	i := &item{key, f}
	if key != "" {
		l.keyed[key] = i
	}
	l.queue = append(l.queue, i)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// Waiting is how many messages are in the queue.
func (l *Link) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// next takes the oldest message from the queue.
func (l *Link) next() *item {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	i := l.queue[0]
	l.queue = l.queue[1:]
	if i.key != "" {
		delete(l.keyed, i.key)
	}
	return i
}

func (l *Link) send() {
	for {
		i := l.next()
		if i == nil {
			select {
			case <-l.more:
				continue
			case <-l.done:
				return
			}
		}
		err := l.Conn.Send(i.frame)
		i.frame.Close()
		if err != nil {
			l.End(err)
			return
		}
	}
}

// End ends the link; the first reason counts.
func (l *Link) End(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.err = true, why
	for _, i := range l.queue {
		i.frame.Close()
	}
	l.queue = nil
	close(l.done)
	_ = l.Conn.Close()
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why it has.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Dup returns another descriptor of a file, for a message.
func Dup(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, inner := -1, error(nil)
	if err := raw.Control(func(n uintptr) { fd, inner = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if inner != nil {
		return nil, os.NewSyscallError("fcntl", inner)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Monotonic is the machine's clock that nothing sets: the same for all processes.
func Monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}
