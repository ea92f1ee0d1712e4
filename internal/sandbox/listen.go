package sandbox

import (
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/netns"
)

// backlog is how many connections wait for a listener in a container to accept them.
const backlog = 128

// Listen returns a listener on a TCP port of the container's own loopback. Who connects to it is within the container. It is closed with the container, and
// when the Host is. Listening does not count its port.
func (c *Container) Listen(port int) (net.Listener, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, Err: err}
	}
	if c.space == nil || c.ended {
		return fail(os.ErrProcessDone)
	}
	fd, err := netns.Socket(c.space, unix.AF_INET)
	if err != nil {
		return fail(err)
	}
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close() // net.FileListener has a descriptor of its own
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fail(os.NewSyscallError("bind", err))
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return fail(os.NewSyscallError("listen", err))
	}
	l, err := net.FileListener(f)
	if err != nil {
		return fail(err)
	}
	c.listeners = append(c.listeners, l)
	c.ours = append(c.ours, port)
	return l, nil
}

// closeListeners closes what listens in the container for us.
func (c *Container) closeListeners() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, l := range c.listeners {
		_ = l.Close()
	}
	c.listeners = nil
}

// theirs are the ports that are not ours.
func (c *Container) theirs(ports []int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(ports, func(p int) bool { return slices.Contains(c.ours, p) })
}
