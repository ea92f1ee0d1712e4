package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to a TCP port on the container's own loopback, from outside of it.
func (c *Container) Dial(ctx context.Context, port int) (net.Conn, error) {
	if c.space == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrProcessDone}
	}
	// Most programs listen on 127.0.0.1 or everywhere; a few on ::1 or on the outward address only.
	conn, err := dialIn(ctx, c.space, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
	if !errors.Is(err, unix.ECONNREFUSED) {
		return conn, err
	}
	if conn, e := dialIn(ctx, c.space, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port))); e == nil {
		return conn, nil
	}
	if c.address.IsValid() {
		if conn, e := dialIn(ctx, c.space, netip.AddrPortFrom(c.address, uint16(port))); e == nil {
			return conn, nil
		}
	}
	return nil, err
}

// ourSpace is the network namespace that this process runs in.
var ourSpace = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/ns/net") })

// dialIn connects from within a network namespace. A socket belongs to the namespace that its thread was in when it was made:
// only socket(2) runs there.
func dialIn(ctx context.Context, space *os.File, to netip.AddrPort) (net.Conn, error) {
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
	fd, err := socketIn(space, family)
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

// socketIn makes a socket in a network namespace. It does so on a goroutine of its own: a thread that cannot be brought back is
// never unlocked, so that it ends with the goroutine and no one else's code runs on it.
func socketIn(space *os.File, family int) (int, error) {
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

// listening reads the TCP sockets that listen in a process's network namespace.
func listening(pid int) ([]int, error) {
	var ports []int
	for _, f := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, f))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ports = append(ports, listeningPorts(string(b))...)
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// listeningPorts reads the format of /proc/net/tcp, proc(5).
func listeningPorts(table string) []int {
	var ports []int
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "0A" { // TCP_LISTEN
			continue
		}
		_, p, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(p, 16, 16); err == nil {
			ports = append(ports, int(n))
		}
	}
	return ports
}
