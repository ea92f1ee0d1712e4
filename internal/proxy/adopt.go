package proxy

import (
	"fmt"
	"net"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// Adopted is a proxy that has outlived the gitd before.
type Adopted struct {
	link      *link
	listeners map[string]net.Listener
}

// Adopt finds the proxy that answers at a socket.
func Adopt(socket string) (*Adopted, error) {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	u := c.(*net.UnixConn)
	if err := wire.PeerIsUs(u); err != nil {
		_ = u.Close()
		return nil, err
	}
	return greet(u)
}

// greet hears who a proxy is.
func greet(c *net.UnixConn) (*Adopted, error) {
	a := &Adopted{link: &link{Link: wire.NewLink(c), waiting: map[uint64]chan struct{}{}, known: map[*Instance]bool{}}, listeners: map[string]net.Listener{}}
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
	for i, name := range a.link.hello.Listeners {
		if i < len(f.Files) {
			if l, err := net.FileListener(f.Files[i]); err == nil {
				a.listeners[name] = l
			}
		}
	}
	return a, nil
}

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

// Close leaves the proxy as it is.
func (a *Adopted) Close() {
	a.forget()
	a.link.End(net.ErrClosed)
}
