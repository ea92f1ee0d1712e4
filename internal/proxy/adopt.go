package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// Adopted is a proxy that has outlived the gitd before.
type Adopted struct {
	link      *link
	listeners map[string]net.Listener
}

// Adopt finds the proxy that answers at a socket.
func Adopt(socket string) (*Adopted, error) { return adopt(socket, wire.Ours) }

func adopt(socket string, ours wire.Versions) (*Adopted, error) {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	u := c.(*net.UnixConn)
	if err := wire.PeerIsUs(u); err != nil {
		_ = u.Close()
		return nil, err
	}
	return greet(u, ours)
}

// Leaving finds the proxies that another one has taken over from, and that still have connections, of those at a socket; but for known ones, which obey a gitd.
func Leaving(socket string, known ...int) []*Adopted { return leaving(socket, wire.Ours, known) }

func leaving(socket string, ours wire.Versions, known []int) (all []*Adopted) {
	found, _ := filepath.Glob(socket + ".*")
	for _, at := range found {
		if pid, err := strconv.Atoi(strings.TrimPrefix(at, socket+".")); err != nil || slices.Contains(known, pid) {
			continue
		}
		if a, err := adopt(at, ours); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// greet hears who a proxy is.
func greet(c *net.UnixConn, ours wire.Versions) (*Adopted, error) {
	a := &Adopted{link: &link{Link: wire.Greeting(c, ours), waiting: map[uint64]chan struct{}{}, known: map[*Instance]bool{}, counts: map[string]*wire.Revisioned{}}, listeners: map[string]net.Listener{}}
	_ = c.SetReadDeadline(time.Now().Add(helloTime))
	f, err := a.link.Receive()
	if err == nil {
		defer f.Close()
		err = into(&f, func(m *wire.Hello) { a.link.hello = *m })
	}
	if err != nil {
		a.link.End(err)
		return nil, fmt.Errorf("the proxy does not say who it is: %w", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	a.link.Speak(ours.Common(a.link.hello.Versions()))
	for i, name := range a.link.hello.Listeners {
		if i < len(f.Files) {
			if l, err := net.FileListener(f.Files[i]); err == nil {
				a.listeners[name] = l
			}
		}
	}
	return a, nil
}

// Current says whether a gitd of this build can lead it.
func (a *Adopted) Current() bool {
	h := &a.link.hello
	return a.link.Speaks() && h.Edition == edition() && !h.Leaving
}

// Domain is what the names of apps end with that it serves.
func (a *Adopted) Domain() string { return a.link.hello.Domain }

// Listener returns the listener of a name ("http", "https"), where the proxy has it at this address; else nil.
func (a *Adopted) Listener(name, address string) net.Listener {
	l := a.listeners[name]
	if l == nil {
		return nil
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	has, ok := l.Addr().(*net.TCPAddr)
	if err != nil || !ok || want.Port != has.Port || !want.IP.Equal(has.IP) && !(len(want.IP) == 0 && has.IP.IsUnspecified()) {
		return nil
	}
	delete(a.listeners, name)
	return l
}

// forget closes the listeners that no one has taken.
func (a *Adopted) forget() {
	for _, l := range a.listeners {
		_ = l.Close()
	}
	clear(a.listeners)
}

// Leave has the proxy take no more, answer what is under way, and end. It returns when it has ended.
func (a *Adopted) Leave(ctx context.Context) error {
	a.forget()
	defer a.link.End(net.ErrClosed)
	defer context.AfterFunc(ctx, func() { a.link.End(ctx.Err()) })()
	a.link.Tell(wire.KindLeave, wire.Asked{})
	for {
		f, err := a.link.Receive()
		f.Close()
		if errors.Is(err, wire.ErrVersion) { // what it says each second
			continue
		}
		if err != nil || f.Kind == wire.KindDone {
			break
		}
	}
	return a.End(ctx)
}

// End waits until the proxy has ended that can, or must, end now.
func (a *Adopted) End(ctx context.Context) error {
	a.Close()
	for {
		err := syscall.Kill(a.link.hello.PID, 0)
		if err != nil || ended(a.link.hello.PID) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the proxy, process %d, does not end: %w", a.link.hello.PID, context.Cause(ctx))
		case <-time.After(lookForEnd):
		}
	}
}

// lookForEnd is the pause between two looks whether a proxy has ended.
const lookForEnd = 10 * time.Millisecond

// ended says whether a process has ended that no parent has asked for its status yet.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

// Close leaves the proxy as it is.
func (a *Adopted) Close() {
	a.forget()
	a.link.End(net.ErrClosed)
}
