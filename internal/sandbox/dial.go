package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/netns"
)

// Dial connects to a TCP port on the container's own loopback, from outside of it.
func (c *Container) Dial(ctx context.Context, port int) (net.Conn, error) {
	if c.space == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrProcessDone}
	}
	return netns.Dial(ctx, c.space, c.address, port)
}

// Space is the container's network namespace, and its outward address there, for those who connect to it by themselves. The file is the container's: it is closed with it, and nil for
// one that was adopted after its end.
func (c *Container) Space() (*os.File, netip.Addr) { return c.space, c.address }

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
