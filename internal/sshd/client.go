package sshd

import (
	"io"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
)

// far is what a session knows of its client's end, for a command that works with it.
type far struct {
	mu      sync.Mutex // mu guards the following
	works   bool       // a command works with the client: signals are its own
	term    string
	size    app.WindowSize
	out     output
	resized chan app.WindowSize // the last size that was not taken yet
	signals chan string         // those not taken yet; more are dropped
}

// maxSignals is how many signals wait.
const maxSignals = 16

func newFar() far {
	return far{resized: make(chan app.WindowSize, 1), signals: make(chan string, maxSignals)}
}

// output is the client's, until it reads no more.
type output struct {
	mu     sync.Mutex // mu guards the following
	w      io.Writer
	closed bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	w := o.w
	if o.closed {
		w = nil
	}
	o.mu.Unlock()
	if w == nil {
		return 0, io.ErrClosedPipe
	}
	return w.Write(p)
}

// termName is what a terminal may call itself.
var termName = pattern.New(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// open reads a request for a terminal (RFC 4254, 6.2). Its modes are not asked for: those of a new terminal are what clients expect.
func (f *far) open(payload []byte) {
	var q struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if gossh.Unmarshal(payload, &q) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if termName.MatchString(q.Term) {
		f.term = q.Term
	}
	f.size = sizeOf(q.Rows, q.Columns)
}

// resize reads a change of the window's size (RFC 4254, 6.7).
func (f *far) resize(payload []byte) {
	var q struct{ Columns, Rows, Width, Height uint32 }
	if gossh.Unmarshal(payload, &q) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size = sizeOf(q.Rows, q.Columns)
	select {
	case <-f.resized: // an older one
	default:
	}
	f.resized <- f.size
}

func sizeOf(rows, columns uint32) app.WindowSize {
	const most = 1<<16 - 1
	return app.WindowSize{Rows: uint16(min(rows, most)), Columns: uint16(min(columns, most))}
}

// signal reads a signal (RFC 4254, 6.9). It returns false where no command takes it.
func (f *far) signal(payload []byte) bool {
	var q struct{ Name string }
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.works {
		return false
	}
	if gossh.Unmarshal(payload, &q) == nil && len(q.Name) <= 64 {
		select {
		case f.signals <- q.Name:
		default:
		}
	}
	return true
}

// stopReading notes that the client reads no more: a command that works with it is told at its next write. It returns false where there is none.
func (f *far) stopReading() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.works {
		f.out.mu.Lock()
		f.out.closed = true
		f.out.mu.Unlock()
	}
	return f.works
}

// client hands the client's end over to the command.
func (ss *Session) client() *app.Client {
	f := &ss.far
	f.mu.Lock()
	defer f.mu.Unlock()
	f.works = true
	f.out.w = ss.ch
	c := &app.Client{TTY: ss.pty, Term: f.term, Size: f.size, Resized: f.resized, Signals: f.signals}
	if ss.pty {
		c.Raw = func() (io.Reader, io.Writer) { return ss.in, &f.out }
	}
	return c
}

// lazy is a reader that is opened when it is read.
type lazy struct {
	open func() io.Reader
	r    io.Reader
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.r == nil {
		l.r = l.open()
	}
	return l.r.Read(p)
}
