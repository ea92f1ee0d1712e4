// Package netns makes sockets and connections in other network namespaces than that of this process.
package netns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to a TCP port on a namespace's own loopback, from outside of it. Most programs listen on 127.0.0.1 or everywhere; a few on ::1, or on their outward
// address only, which is asked last; the zero value for none.
func Dial(ctx context.Context, space *os.File, outward netip.Addr, port int) (net.Conn, error) {
	conn, err := dial(ctx, space, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
	if !errors.Is(err, unix.ECONNREFUSED) {
		return conn, err
	}
	if conn, e := dial(ctx, space, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port))); e == nil {
		return conn, nil
	}
	if outward.IsValid() {
		if conn, e := dial(ctx, space, netip.AddrPortFrom(outward, uint16(port))); e == nil {
			return conn, nil
		}
	}
	return nil, err
}

// ourSpace is the network namespace that this process runs in.
var ourSpace = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/ns/net") })

// dial connects from within a network namespace. A socket belongs to the namespace that its thread was in when it was made:
// only socket(2) runs there.
func dial(ctx context.Context, space *os.File, to netip.AddrPort) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	family := unix.AF_INET
	var address unix.Sockaddr
	if to.Addr().Is4() {
		address = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := Socket(space, family)
	if err != nil {
		return fail(err)
	}
	err = unix.Connect(fd, address)
	f := os.NewFile(uintptr(fd), "tcp") // closed below: net.FileConn has a descriptor of its own
	defer f.Close()
	if err == unix.EINPROGRESS {
		err = connected(ctx, f)
	}
	if err != nil {
		return fail(err)
	}
	return net.FileConn(f)
}

// Socket makes a TCP socket in a network namespace. It does so on a goroutine of its own: a thread that cannot be brought back is
// never unlocked, so that it ends with the goroutine and no one else's code runs on it.
func Socket(space *os.File, family int) (int, error) {
	ours, err := ourSpace()
	if err != nil {
		return -1, err
	}
	raw, err := space.SyscallConn()
	if err != nil {
		return -1, err
	}
	type result struct {
		fd  int
		err error
	}
	made := make(chan result, 1)
	go func() {
		r := result{fd: -1}
		err := raw.Control(func(theirs uintptr) { // holds the file open
			runtime.LockOSThread()
			if r.err = os.NewSyscallError("setns", unix.Setns(int(theirs), unix.CLONE_NEWNET)); r.err != nil {
				runtime.UnlockOSThread()
				return
			}
			var err error
			r.fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			r.err = os.NewSyscallError("socket", err)
			if unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
		})
		if err != nil {
			r.err = err
		}
		made <- r
	}()
	r := <-made
	return r.fd, r.err
}

// connected waits for the end of a connect(2) in progress.
func connected(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok {
		_ = f.SetWriteDeadline(d)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code != 0 {
			if result = err; err == nil {
				result = unix.Errno(code)
			}
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // else still connecting
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, os.NewSyscallError("connect", result))
}
