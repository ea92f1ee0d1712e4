package main

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/gitd-io/gitd/internal/app"
)

// handedOver returns the sockets that systemd made and holds (LISTEN_FDS), by what they are for: "ssh" and "http", as their units name them
// (FileDescriptorName=). It holds them while gitd is restarted: clients wait then, and none is refused.
func handedOver(names ...string) (map[string]net.Listener, error) {
	expected, pid, count := os.Getenv("LISTEN_FDNAMES"), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS") // the library takes them away
	all, err := activation.ListenersWithNames()
	if err != nil {
		return nil, err
	}
	usable := 0
	for _, list := range all {
		usable += len(list)
	}
	if pid == strconv.Itoa(os.Getpid()) && count != strconv.Itoa(usable) {
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
