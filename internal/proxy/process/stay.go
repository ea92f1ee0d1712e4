package process

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// stay is what is known of how long to serve without a gitd. The Process' mu guards it.
type stay struct {
	until   time.Time // zero: for as long as the data directory is there, since gitd was killed
	held    *os.File  // at its end when the service is stopped; nil: no service manager holds the other end
	stopped bool      // it was, while there was no gitd
}

// stayFor notes that gitd ends for a restart.
func (p *Process) stayFor(l *wire.Link, m *wire.Asked) error {
	p.stay.until = time.Now().Add(m.For)
	p.led.close()
	l.Tell(wire.KindDone, wire.Asked{Number: m.Number})
	return nil
}

// overdue says whether a proxy without a gitd need not stay any more. A service manager that holds the descriptor knows better than a clock.
func (p *Process) overdue() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stay
	return s.stopped || s.held == nil && !s.until.IsZero() && time.Now().After(s.until)
}

// hold takes the descriptor that is at its end when the service is stopped.
func (p *Process) hold(files []*os.File) error {
	if len(files) != 1 {
		return wire.ErrDamaged
	}
	f, err := wire.Dup(files[0])
	if err != nil {
		return err
	}
	if before := p.stay.held; before != nil {
		_ = before.Close()
	}
	p.stay.held = f
	go func() {
		_, _ = io.Copy(io.Discard, f)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stay.held != f {
			return
		}
		_ = f.Close()
		p.stay.held = nil
		p.stay.stopped = p.link == nil // with a gitd: the manager does not hold it, and that gitd says what to do
	}()
	return nil
}

// outlast keeps the connections that there are until they have ended, and for so long at most. Each is closed with the answer to its next request; one without a request, when it has been idle for as long as any may be.
// The gitd that there is, and each that comes after it, finds this proxy at a socket of its own, and tells it all changes.
func (p *Process) outlast(most time.Duration) {
	if p.socket != "" {
		own := fmt.Sprintf("%s.%d", p.socket, os.Getpid())
		if p.await(own) {
			p.outlasts.Store(true)
			defer func() {
				p.outlasts.Store(false)
				_ = p.control.Load().Close()
				_ = os.Remove(own)
			}()
		}
	}
	for until := time.Now().Add(most); time.Now().Before(until); {
		if open, _ := p.seen.Counts(); open == 0 {
			return
		}
		p.mu.Lock()
		alone := p.link == nil
		p.mu.Unlock()
		if alone && p.overdue() {
			return
		}
		select {
		case <-p.hurry:
			return
		case <-time.After(50 * lookAgain):
		}
	}
}

// gate keeps requests waiting while it is closed. The zero value is closed.
type gate struct {
	mu sync.Mutex // mu guards the following

	passed chan struct{} // closed while the gate is open; nil while it is closed and no one waits
	is     bool          // open
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.is = true; g.passed != nil {
		close(g.passed)
		g.passed = nil
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.is = false
}

// pass waits until the gate is open, and returns false where it is not within a time.
func (g *gate) pass(within time.Duration, gone <-chan struct{}) bool {
	g.mu.Lock()
	if g.is {
		g.mu.Unlock()
		return true
	}
	if g.passed == nil {
		g.passed = make(chan struct{})
	}
	passed := g.passed
	g.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-passed:
		return true
	case <-timer.C:
	case <-gone:
	}
	return false
}
