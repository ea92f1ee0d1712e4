// Package process is gitd-proxy: the part of gitd that carries users' requests, in a process of its own. It knows what gitd tells it (package wire) and decides nothing itself. While no gitd is there, it serves by
// what it was told last. Its life:
//
//  1. It says who it is (wire.Hello), and gets a whole: how to serve, revisions with their instances, the table, certificates, listeners.
//  2. It serves, and is told each change. It tells which revisions at zero are asked for, and each second what it has counted.
//  3. When the link ends, it goes on. The next gitd comes to its socket, and tells the whole again: what is known by the same key goes on with its connections, its queue and its counters.
//  4. A gitd that ends for a restart has it stay (KindStay): it does so until the time is over, or, where a service manager holds its descriptor (KindHeld), until the service is stopped.
//  5. Leave has it take no more, and answer what is under way. Then the end of the link ends it.
package process

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// Options configure a Process.
type Options struct {
	Edition  string
	Versions wire.Versions // of what it says; the zero value: those of this build
	Log      func(format string, args ...any)
}

// Process is the data plane, and what it was told.
type Process struct {
	o       Options
	plane   atomic.Pointer[dataplane.Plane]
	server  *dataplane.Server
	inside  *http.Server
	seen    dataplane.Connections
	own     atomic.Pointer[string] // the address at which gitd answers its own hosts
	asks    asks
	ended   chan struct{} // closed when it has ended
	leaving sync.Once
	control atomic.Pointer[net.UnixListener] // for the next gitd
	left    chan struct{}                    // closed when all is answered after Leave

	isLeaving atomic.Bool
	outlasts  atomic.Bool // its connections, after another proxy has taken over
	hurry     chan struct{}
	hurried   sync.Once // closes hurry: it outlasts nothing any more
	socket    string    // "" for none
	next      chan *net.UnixConn
	ours      atomic.Pointer[func() bool] // whether the socket is still there
	led       gate                        // open while gitd answers its own hosts

	mu sync.Mutex // mu guards the following

	link      *wire.Link // to the gitd that decides; nil for none
	setup     wire.Setup
	known     bool // there was a Setup
	planes    []*dataplane.Plane
	refused   map[string]int64
	revisions map[string]*revision
	routes    map[string]*wire.Route
	named     map[string][]wire.Target
	holding   map[wire.Maintenance]*dataplane.Maintenance
	certs     certificates
	listeners map[string]*listening
	whole     *whole // what was named since the last Setup; nil after the whole
	stay      stay
}

// whole is what gitd has named of all that there is.
type whole struct {
	revisions map[string]bool
	instances map[string]bool
	kept      bool             // the setup was
	setup     *wire.Setup      // where it was not
	plane     *dataplane.Plane // that takes the requests when its table is there; nil: the one that there is serves on
}

// New returns a Process that serves nothing yet.
func New(o Options) *Process {
	if o.Versions == (wire.Versions{}) {
		o.Versions = wire.Ours
	}
	p := &Process{o: o, ended: make(chan struct{}), left: make(chan struct{}), hurry: make(chan struct{}), next: make(chan *net.UnixConn), revisions: map[string]*revision{}, refused: map[string]int64{}, holding: map[wire.Maintenance]*dataplane.Maintenance{}, listeners: map[string]*listening{}}
	p.asks.waiting = map[uint64]chan bool{}
	p.plane.Store(dataplane.New(nil))
	p.server = dataplane.Serving(p.plane.Load, p.isLeaving.Load)
	p.inside = &http.Server{Handler: http.HandlerFunc(p.serveInside), ReadHeaderTimeout: 10 * time.Second}
	go p.count()
	return p
}

// Serve obeys a gitd at the other end of c until the link ends, and returns why it did.
func (p *Process) Serve(c *net.UnixConn) error {
	l := wire.Greeting(c, p.o.Versions)
	p.mu.Lock()
	if before := p.link; before != nil { // its gitd has ended, or is no longer the one that holds the data directory
		before.End(net.ErrClosed)
	}
	p.link, p.whole = l, nil
	for _, r := range p.revisions {
		r.told = untold
	}
	hello := wire.Hello{PID: os.Getpid(), Version: p.o.Versions.Newest, Oldest: p.o.Versions.Oldest, Edition: p.o.Edition, Leaving: p.isLeaving.Load(), Domain: p.setup.Domain}
	var files []*os.File
	for name, at := range p.listeners {
		if name == wire.Inside {
			continue
		}
		if f, err := at.file(); err == nil {
			hello.Listeners, files = append(hello.Listeners, name), append(files, f)
		}
	}
	p.mu.Unlock()
	l.Tell(wire.KindHello, hello, files...)
	for {
		f, err := l.Receive()
		if err == nil {
			err = p.take(l, &f)
		}
		if err != nil {
			l.End(err)
			p.mu.Lock()
			if p.link == l {
				p.link, p.whole = nil, nil
				p.led.close()
			}
			p.mu.Unlock()
			p.asks.end()
			return l.Err()
		}
	}
}

// Inside returns what runs a Process within the caller's.
func Inside(log func(format string, args ...any)) func(*net.UnixConn) {
	return func(c *net.UnixConn) { New(Options{Log: log}).Run(c, "") }
}

// stop ends everything at once.
func (p *Process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
		return
	default:
	}
	close(p.ended)
	if l := p.control.Load(); l != nil {
		_ = l.Close()
	}
	for _, at := range p.listeners {
		at.close()
	}
	_ = p.server.Close()
	_ = p.inside.Close()
}

// tell tells gitd something, where there is one.
func (p *Process) tell(kind wire.Kind, message any) {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.Tell(kind, message)
	}
}

// take does what a frame says.
func (p *Process) take(l *wire.Link, f *wire.Frame) error {
	defer f.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != l {
		return net.ErrClosed
	}
	switch f.Kind {
	case wire.KindSetup:
		return into(f, p.begin)
	case wire.KindRevision:
		return into(f, p.addRevision)
	case wire.KindInstances:
		return into(f, func(m *wire.Instances) error { return p.setInstances(m, f.Files) })
	case wire.KindDropped:
		return into(f, p.dropInstance)
	case wire.KindFailing:
		return into(f, p.setFailing)
	case wire.KindClose:
		return into(f, p.closeRevision)
	case wire.KindDrain:
		return into(f, p.drain)
	case wire.KindRoutes:
		return into(f, p.setRoutes)
	case wire.KindCertificates:
		return into(f, p.setCertificates)
	case wire.KindWhole:
		p.end()
	case wire.KindListen:
		return into(f, func(m *wire.Listen) error { return p.listen(m, f.Files) })
	case wire.KindAsk:
		return into(f, func(m *wire.Asked) error { return p.answer(l, m) })
	case wire.KindAnswer:
		return into(f, func(m *wire.Answer) error { p.asks.answer(m.Number, m.Yes); return nil })
	case wire.KindStay:
		return into(f, func(m *wire.Asked) error { return p.stayFor(l, m) })
	case wire.KindHeld:
		return p.hold(f.Files)
	case wire.KindLeave:
		return into(f, func(m *wire.Asked) error {
			if m.For == 0 {
				p.hurried.Do(func() { close(p.hurry) })
			}
			p.leaving.Do(func() { go p.leave(*m) })
			return nil
		})
	default:
		p.o.Log("proxy: gitd says something that this version does not know (%d)", f.Kind)
	}
	return nil
}

// into reads a frame's message and has it done.
func into[M any](f *wire.Frame, do func(*M) error) error {
	m := new(M)
	if err := f.Into(m); err != nil {
		return err
	}
	return do(m)
}

// answer says that everything that was told before is in effect.
func (p *Process) answer(l *wire.Link, m *wire.Asked) error {
	if m.Counts {
		l.Tell(wire.KindCounts, p.counts())
	}
	l.Tell(wire.KindDone, wire.Asked{Number: m.Number})
	return nil
}

// leaveTime is how long requests under way get to end. The time before it is for requests that arrive right now.
const (
	leaveTime  = 30 * time.Second
	leavePause = 500 * time.Millisecond
)

// leave takes no more from clients, and tells when it has answered what is under way. A request that arrives right now is still answered: no new connections, then no further request
// on the old ones. Requests of gitd's own are answered until the link ends. Where another proxy has taken over, connections first go on as they are.
func (p *Process) leave(m wire.Asked) {
	defer close(p.left)
	p.isLeaving.Store(true)
	p.mu.Lock()
	for _, name := range []string{wire.HTTP, wire.HTTPS} {
		if at := p.listeners[name]; at != nil {
			at.close()
			delete(p.listeners, name)
		}
	}
	p.mu.Unlock()
	if l := p.control.Load(); l != nil { // after the listeners: a gitd that finds no proxy finds their addresses free
		_ = l.Close()
	}
	if m.For > 0 {
		p.outlast(m.For)
	}
	p.server.CloseIdle()
	time.Sleep(leavePause)
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	_ = p.server.Shutdown(ctx)
	p.tell(wire.KindDone, wire.Asked{Number: m.Number})
}
