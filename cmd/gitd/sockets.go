package main

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/gitd-io/gitd/internal/app"
)

// handedOver returns the sockets that systemd made and holds (LISTEN_FDS), by what they are for: "ssh" and "http", as their units name them
// (FileDescriptorName=). It holds them while gitd is restarted: clients wait then, and none is refused.
func handedOver(names ...string) (map[string]net.Listener, error) {
	expected, pid, count := os.Getenv("LISTEN_FDNAMES"), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS") // the library takes them away
	stored := 0
	for name := range strings.SplitSeq(expected, ":") {
		if name == storedName {
			stored++
		}
	}
	all, err := activation.ListenersWithNames()
	if err != nil {
		return nil, err
	}
	usable := 0
	for _, list := range all {
		usable += len(list)
	}
	if pid == strconv.Itoa(os.Getpid()) && count != strconv.Itoa(usable+stored) {
		return nil, app.Errorf(app.CodeInvalidInput, "give its unit ListenStream=ADDRESS:PORT", "systemd hands over %s descriptors (%s), of which %d are listening sockets", count, expected, usable)
	}
	found := map[string]net.Listener{}
	for name, list := range all {
		if !slices.Contains(names, name) || len(list) != 1 {
			return nil, app.Errorf(app.CodeInvalidInput, "give each socket unit one ListenStream= and FileDescriptorName="+strings.Join(names, " or FileDescriptorName="),
				"systemd hands over the sockets %q", expected)
		}
		if _, ok := list[0].Addr().(*net.TCPAddr); !ok {
			return nil, app.Errorf(app.CodeInvalidInput, "give its unit ListenStream=ADDRESS:PORT", "the socket %s of systemd is not a TCP socket", name)
		}
		found[name] = list[0]
	}
	return found, nil
}

// storedName is what systemd calls the descriptor that it holds for as long as the service is not stopped.
const storedName = "gitd-proxy"

// held gives systemd one end of a pipe, and returns the other one: it is at its end when systemd gives the first one up, which it does when the service is stopped, and not at a restart (FileDescriptorStoreMax= of
// the unit). nil: systemd does not run this service, or takes no descriptors.
func held(log func(format string, args ...any)) func() *os.File {
	socket := os.Getenv("NOTIFY_SOCKET")
	_ = os.Unsetenv("NOTIFY_SOCKET") // nothing that is started here has anything to tell
	if socket == "" {
		return nil
	}
	return func() *os.File {
		ours, theirs, err := os.Pipe()
		if err != nil {
			log("the proxy does not learn when the service is stopped: %v", err)
			return nil
		}
		defer theirs.Close()
		if err := store(socket, theirs); err != nil {
			log("the proxy does not learn when the service is stopped: tell systemd: %v", err)
			_ = ours.Close()
			return nil
		}
		return ours
	}
}

// store has systemd hold a descriptor.
func store(socket string, f *os.File) error {
	c, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(c)
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) {
		inner = syscall.Sendmsg(c, []byte("FDSTORE=1\nFDNAME="+storedName), syscall.UnixRights(int(fd)), &syscall.SockaddrUnix{Name: socket}, 0)
	}); err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", inner)
}
