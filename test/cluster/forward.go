package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// forward accepts connections on the host and continues each inside the node: the way in, without an interface on the host.
func forward(listener net.Listener, space *namespace, to string) {
	target := netip.MustParseAddrPort(to)
	for {
		from, err := listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // too many open files, for instance: it passes
			continue
		}
		go func() {
			defer from.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			inside, err := space.dial(ctx, target)
			if err != nil {
				if c, ok := from.(*net.TCPConn); ok {
					_ = c.SetLinger(0) // a reset, as if the port were closed
				}
				return
			}
			defer inside.Close()
			var both sync.WaitGroup
			both.Go(func() { pipe(inside, from) })
			both.Go(func() { pipe(from, inside) })
			both.Wait()
		}()
	}
}

// pipe copies until the end, and passes the end on: the other direction goes on.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if c, ok := to.(*net.TCPConn); ok {
		if err != nil {
			_ = c.SetLinger(0)
			c.Close()
			return
		}
		_ = c.CloseWrite()
	}
}

// namespace makes sockets in another network namespace.
type namespace struct {
	requests chan chan socket
}

type socket struct {
	fd  int
	err error
}

// enterNetwork prepares one thread for a network namespace. The thread never returns to the others: it ends with its goroutine.
func enterNetwork(path string) (*namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	n := &namespace{requests: make(chan chan socket)}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // and no unlock
		err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		f.Close()
		entered <- err
		if err != nil {
			return
		}
		for answer := range n.requests {
			// A socket belongs to the namespace that its thread was in when it was made; what is done with it later, any thread may do.
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			answer <- socket{fd, err}
		}
	}()
	return n, <-entered
}

func (n *namespace) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	answer := make(chan socket, 1)
	n.requests <- answer
	s := <-answer
	if s.err != nil {
		return nil, os.NewSyscallError("socket", s.err)
	}
	err := unix.Connect(s.fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	f := os.NewFile(uintptr(s.fd), to.String())
	defer f.Close() // net.FileConn takes a copy
	if err == unix.EINPROGRESS {
		err = connected(ctx, f)
	}
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// connected waits until a connect that is under way has succeeded or failed.
func connected(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok {
		_ = f.SetWriteDeadline(d)
	}
	var result error
	err = raw.Write(func(fd uintptr) (done bool) {
		if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			if result = err; err == nil {
				result = unix.Errno(code)
			}
			return true
		}
		_, err := unix.Getpeername(int(fd))
		return err == nil
	})
	if err != nil {
		return err
	}
	return result
}
