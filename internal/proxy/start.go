package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// Serve starts the proxy, tells it all that there is, and has it serve these listeners; secure may be nil. They stay open here too: what waits in them outlives the proxy. It is called
// once, when everything that there is has been published.
func (p *Proxy) Serve(plain, secure net.Listener) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	return p.serve(plain, secure)
}

// ready starts a proxy without listeners, for requests of gitd's own, where none serves: a command works on a data directory without a server.
func (p *Proxy) ready() error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if p.inside != nil {
		return nil
	}
	p.o.Socket, p.o.Adopted = "", nil
	return p.serve(nil, nil)
}

func (p *Proxy) serve(plain, secure net.Listener) error {
	there := p.inside != nil // ready has started it
	var err error
	if !there {
		if p.own, err = newOwn(p.o.Own); err != nil {
			return err
		}
		if p.inside, err = newInside(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	for name, l := range map[string]net.Listener{wire.Inside: p.inside.listener, wire.HTTP: plain, wire.HTTPS: secure} {
		if l != nil {
			p.listeners[name] = l
		}
	}
	if there && p.link != nil {
		p.tellListeners(p.link)
	}
	p.mu.Unlock()
	if !there {
		l, err := p.start()
		if err != nil {
			return err
		}
		p.tasks.Go(func() { p.keep(l) })
	}
	p.Refresh()
	if !there {
		p.reportFromNow()
	}
	return nil
}

// reportFromNow has reports leave out what was counted before this gitd came.
func (p *Proxy) reportFromNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.keys {
		c := r.total()
		r.reported.busy, r.reported.requests = c.Busy, c.Requests
		if p.link != nil {
			r.reported.at = max(r.reported.at, p.link.at)
		}
	}
}

// How long a proxy may take to say who it is, and the pause before another one is started after one that did not live long.
const (
	helloTime = 20 * time.Second
	shortLife = 5 * time.Second
	again     = time.Second
)

// start finds the proxy that there is, or starts one, and tells it all. One of another build is replaced, and answers what it has under way.
func (p *Proxy) start() (*link, error) {
	found := p.o.Adopted
	p.o.Adopted = nil
	if found == nil && p.o.Socket != "" {
		found, _ = adopt(p.o.Socket, p.o.Versions)
	}
	var l, old *link
	if found != nil {
		found.forget()
		if l = found.link; !found.Current() {
			l, old = nil, l
		}
	}
	if l == nil {
		c, err := p.spawn()
		if err != nil {
			return nil, err
		}
		made, err := greet(c, p.o.Versions)
		if err != nil {
			return nil, fmt.Errorf("start the proxy: %w", err)
		}
		made.forget()
		l = made.link
	}
	var others []*Adopted
	if p.o.Socket != "" {
		others = p.others()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
	if l.hello.PID == p.lastPID { // it has counted all that was taken for its last words
		for _, r := range p.keys {
			r.before = r.undo
		}
		p.refused, p.turned = p.refusedUndo, p.turnedUndo
	}
	p.tellAll(l, p.o.Keeps && found != nil && l == found.link)
	p.tellListeners(l)
	if p.o.Held != nil {
		if f := p.o.Held(); f != nil {
			l.Tell(wire.KindHeld, struct{}{}, f)
			p.held = true
		}
	}
	if old != nil {
		p.o.Log("another build of the proxy takes over from process %d, which keeps its connections until they end, for %s at most", old.hello.PID, leaveTime)
		p.follow(old)
		old.Tell(wire.KindLeave, wire.Asked{For: leaveTime})
	}
	for _, a := range others {
		p.follow(a.link)
	}
	return l, nil
}

// others finds the proxies that leave and are not followed yet.
func (p *Proxy) others() []*Adopted {
	p.mu.Lock()
	var known []int
	for _, l := range slices.Concat(p.leaving, p.deaf) {
		known = append(known, l.hello.PID)
	}
	p.mu.Unlock()
	return leaving(p.o.Socket, p.o.Versions, known)
}

// follow tells a proxy that leaves what there is, and all that changes. One that speaks no version that this gitd does goes by the table that it has: its instances are taken for ones with requests
// until it has left. It is called with mu held.
func (p *Proxy) follow(old *link) {
	if old.Speaks() {
		p.tellAll(old, p.o.Keeps)
		p.leaving = append(p.leaving, old)
	} else {
		p.o.Log("the proxy of process %d speaks version %d, which this gitd does not: it serves its connections by the table of before", old.hello.PID, old.hello.Version)
		old.known = maps.Clone(p.link.known)
		p.deaf = append(p.deaf, old)
	}
	p.tasks.Go(func() { p.seeOff(old) })
}

// leaveTime bounds how long a proxy of another build keeps connections: WebSockets, and answers that go on and on.
const leaveTime = time.Hour

// seeOff hears what a proxy says that leaves, until it has left, or this gitd ends. What it has counted stays.
func (p *Proxy) seeOff(old *link) {
	defer old.End(net.ErrClosed)
	defer context.AfterFunc(p.ended, func() { old.End(net.ErrClosed) })()
	for {
		f, err := old.Receive()
		if last := (wire.Asked{}); err == nil && f.Kind == wire.KindDone && f.Into(&last) == nil && last.Number == 0 {
			f.Close()
			break
		}
		if err == nil && (old.Speaks() || f.Kind == wire.KindDone) {
			err = p.take(old, &f)
		} else {
			f.Close()
		}
		if err != nil && !errors.Is(err, wire.ErrVersion) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = slices.DeleteFunc(p.leaving, func(l *link) bool { return l == old })
	p.deaf = slices.DeleteFunc(p.deaf, func(l *link) bool { return l == old })
	for key, c := range old.counts {
		if r := p.keys[key]; r != nil {
			r.before = plus(r.before, c)
			r.before.InFlight, r.before.Held = 0, 0
		}
	}
	for in := range old.known {
		in.left(old)
	}
	for _, r := range p.keys {
		p.tidy(r)
	}
	for name, n := range old.refused {
		p.refused[name] += n
	}
	p.turned += old.turned
}

// edition tells this build of gitd-proxy from others: its file, and when it was written.
func edition() string {
	program, err := parts.Path(parts.Proxy)
	if err != nil {
		return ""
	}
	var s syscall.Stat_t
	if err := syscall.Stat(program, &s); err != nil {
		return ""
	}
	return fmt.Sprintf("%d-%d-%d-%d.%d", s.Dev, s.Ino, s.Size, s.Mtim.Sec, s.Mtim.Nsec)
}

// spawn starts a proxy, and returns the link to it.
func (p *Proxy) spawn() (*net.UnixConn, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	if p.o.Inside != nil {
		go p.o.Inside(theirs)
		return ours, nil
	}
	defer theirs.Close()
	err = p.execute(theirs)
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return ours, nil
}

// execute starts gitd-proxy, in a session of its own.
func (p *Proxy) execute(theirs *net.UnixConn) error {
	program, err := parts.Path(parts.Proxy)
	if err != nil {
		return err
	}
	f, err := theirs.File()
	if err != nil {
		return err
	}
	defer f.Close()
	c := exec.Command(program, p.o.Socket, edition())
	c.Dir, c.Env, c.Stderr = "/", parts.Env(dataplane.ExtendedConnect), os.Stderr
	c.ExtraFiles = []*os.File{f}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start the proxy: %w", err)
	}
	go func() {
		if err := c.Wait(); err != nil {
			select {
			case <-p.closing:
			default:
				p.o.Log("the proxy, process %d, has ended: %v", c.Process.Pid, err)
			}
		}
	}()
	return nil
}

// keep listens to the proxy, and starts another one when it has ended.
func (p *Proxy) keep(l *link) {
	for {
		began := time.Now()
		err := p.hear(l)
		p.gone(l)
		select {
		case <-p.closing:
			return
		default:
		}
		p.o.Log("the link to the proxy has ended, and another proxy is started: %v", err)
		for wait := time.Since(began) < shortLife; ; wait = true {
			if wait {
				select {
				case <-time.After(again):
				case <-p.closing:
					return
				}
			}
			if l, err = p.start(); err == nil {
				break
			}
			p.o.Log("no proxy serves, and it is tried again every %s: %v", again, err)
		}
	}
}

// Shutdown has the proxy take no more from clients, and answer what is under way. Requests of gitd's own are answered until Close.
func (p *Proxy) Shutdown(ctx context.Context) {
	p.stopKeeping()
	p.mu.Lock()
	for name, listener := range p.listeners {
		if name != wire.Inside {
			_ = listener.Close()
		}
	}
	p.mu.Unlock()
	p.ask(ctx, wire.KindLeave, wire.Asked{})
}

// Stay has the proxy serve on for the next gitd when this one ends, for so long, or, where a service manager holds the proxy's descriptor, until the service is stopped. Requests for gitd's own hosts that are
// under way are answered; later ones wait for the next gitd. The proxy is led until Close.
func (p *Proxy) Stay(ctx context.Context, wait time.Duration) {
	p.stopKeeping()
	bound, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if !p.ask(bound, wire.KindStay, wire.Asked{For: wait}) {
		return
	}
	until := "for " + wait.String()
	p.mu.Lock()
	if p.held {
		until = "until the service is stopped"
	}
	p.mu.Unlock()
	p.o.Log("the proxy serves on %s, for the next gitd; gitd stop ends it", until)
	if p.own != nil {
		select {
		case <-time.After(ownPause):
		case <-ctx.Done():
		}
		_ = p.own.server.Shutdown(ctx)
	}
}

// ownPause is for requests that the proxy passes on right now.
const ownPause = 100 * time.Millisecond

func (p *Proxy) stopKeeping() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closing:
	default:
		close(p.closing)
	}
}

// Close ends the link, and the proxy with it, or leaves it as it is told to stay.
func (p *Proxy) Close() {
	p.stopKeeping()
	if p.o.Keeps {
		p.Settle()
	}
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.End(net.ErrClosed)
	}
	p.end()
	p.tasks.Wait()
	if p.own != nil {
		_ = p.own.server.Close()
	}
	if p.inside != nil {
		p.inside.transport.CloseIdleConnections()
		_ = p.inside.listener.Close()
	}
}
