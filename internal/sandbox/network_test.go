package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestDial(t *testing.T) {
	h := openHost(t)
	for i, s := range []Spec{
		{Args: []string{"/probe", "serve", "127.0.0.1:8080", "four"}},
		{Args: []string{"/probe", "serve", "[::1]:8080", "six"}},
		{Args: []string{"/probe", "serve", ":8080", "all"}},
		{Args: []string{"/probe", "serve", ":80", "low"}, UID: 1000},
		{Args: []string{"/probe", "serve-own", "8080"}, Egress: true},
	} {
		s.ID = fmt.Sprint("dial-", i)
		c := start(t, h, s)
		port, want := 8080, s.Args[len(s.Args)-1]
		switch s.Args[1] {
		case "serve-own":
			want = "own"
		default:
			if strings.HasSuffix(s.Args[2], ":80") {
				port = 80
			}
		}
		eventually(t, func() error {
			got, err := get(within(t, 5*time.Second), c, port)
			if err == nil && got != want {
				err = fmt.Errorf("got %q, want %q", got, want)
			}
			return err
		})
		if _, err := c.Dial(t.Context(), 8081); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("a port without a listener: %v", err)
		}
		if p, err := c.Listening(); err != nil || fmt.Sprint(p) != fmt.Sprintf("[%d]", port) {
			t.Errorf("listening on %v, %v", p, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Dial(ctx, port); err == nil {
			t.Error("dialled with an ended context")
		}
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// The process itself is where it was: every thread but those that end, and those that make a namespace ahead.
	ours, _ := os.Readlink("/proc/self/ns/net")
	eventually(t, func() error {
		tasks, err := os.ReadDir("/proc/self/task")
		for _, task := range tasks {
			if l, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil && l != ours {
				return fmt.Errorf("thread %s is in %s", task.Name(), l)
			}
		}
		return err
	})
}

// foreign is another machine: a network namespace behind a veth pair, with a server that says who asks. It has further addresses, to
// which this machine has routes.
func foreign(t *testing.T, further ...netip.Prefix) (server string, host string) {
	t.Helper()
	k := os.Getpid() % 16384 * 4
	at := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{198, 18 + byte(k>>16), byte(k >> 8), byte(k + i)})
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = fmt.Sprintf("gt%d", os.Getpid())
	var l net.Listener
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		outside, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer outside.Close()
		defer ns.Close()
		done := make(chan error)
		go func() { // on another thread: in the host's namespace
			done <- connectForeign(t, attributes, ns, at(1))
			<-done
			v, err := netlink.LinkByName(attributes.Name)
			for _, p := range further {
				err = errors.Join(err, netlink.RouteAdd(&netlink.Route{LinkIndex: v.Attrs().Index, Dst: prefixNet(p), Gw: at(2).AsSlice()}))
			}
			done <- err
		}()
		if err := <-done; err != nil {
			return err
		}
		if err := linksUp(outside, at(2)); err != nil {
			return err
		}
		eth, err := outside.LinkByName("eth0")
		for _, p := range further {
			err = errors.Join(err, outside.AddrAdd(eth, &netlink.Addr{IPNet: prefixNet(netip.PrefixFrom(p.Addr(), 32))}))
		}
		done <- nil
		if err = errors.Join(err, <-done); err != nil {
			return err
		}
		l, err = net.Listen("tcp4", "0.0.0.0:7000") // a literal address: the socket is made on this thread
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go answer(l)
	return net.JoinHostPort(at(2).String(), "7000"), at(1).String()
}

// connectForeign makes the veth pair between this machine, with that address, and the namespace.
func connectForeign(t *testing.T, attributes netlink.LinkAttrs, ns *os.File, address netip.Addr) error {
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.Fd()))}); err != nil {
		return err
	}
	t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Veth{LinkAttrs: attributes}) })
	v, err := netlink.LinkByName(attributes.Name)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(v, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return err
	}
	return netlink.LinkSetUp(v)
}

// linksUp brings up the links of the namespace, eth0 with that address.
func linksUp(outside *netlink.Handle, address netip.Addr) error {
	for _, name := range []string{"lo", "eth0"} {
		i, err := outside.LinkByName(name)
		if err != nil {
			return err
		}
		if name == "eth0" {
			if err := outside.AddrAdd(i, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
				return err
			}
		}
		if err := outside.LinkSetUp(i); err != nil {
			return err
		}
	}
	return nil
}

// answer tells each caller its address.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, c.RemoteAddr().String()+"\n")
		_ = c.Close()
	}
}

func TestEgress(t *testing.T) {
	server, hostThere := foreign(t)
	h := openHost(t)
	other := openHost(t) // another server of the same machine
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answer(l)
	_, hostPort, _ := net.SplitHostPort(l.Addr().String())

	neighbour := start(t, h, Spec{ID: "neighbour", Args: []string{"/probe", "serve", "0.0.0.0:8080", "hi"}, Egress: true})
	stranger := start(t, other, Spec{ID: "stranger", Args: []string{"/probe", "serve", "0.0.0.0:8080", "hi"}, Egress: true})
	for _, c := range []*Container{neighbour, stranger} {
		eventually(t, func() error { _, err := get(within(t, 5*time.Second), c, 8080); return err })
		if !addressRange.Contains(c.address) {
			t.Errorf("address %v", c.address)
		}
	}
	if neighbour.address == stranger.address {
		t.Errorf("both have %v", neighbour.address)
	}
	gateway := neighbour.address.Prev()
	forbidden := []string{"127.0.0.1:" + hostPort, "[::1]:" + hostPort, gateway.String() + ":" + hostPort, hostThere + ":" + hostPort,
		neighbour.address.String() + ":8080", stranger.address.String() + ":8080", stranger.address.Prev().String() + ":" + hostPort, "169.254.169.254:80"}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP; ip.IsGlobalUnicast() {
			forbidden = append(forbidden, net.JoinHostPort(ip.String(), hostPort))
		}
	}
	for _, where := range []*Host{h, other} {
		out, _ := run(t, where, Spec{Args: append([]string{"/probe", "dial", server}, forbidden...), Egress: true, UID: 1000})
		if n := strings.Count(out, " reached "); n != 1 || !strings.Contains(out, server+" reached "+hostThere+":") {
			t.Errorf("wanted only %s, masqueraded as %s:\n%s", server, hostThere, out)
		}
	}
	out, _ := run(t, h, Spec{Args: append([]string{"/probe", "dial", server}, forbidden...), UID: 1000})
	if strings.Contains(out, " reached ") {
		t.Errorf("without a way out:\n%s", out)
	}
	if out, _ = run(t, h, Spec{Args: []string{"/probe", "read", "/etc/resolv.conf"}, Egress: true}); strings.Contains(out, "nameserver 127.") {
		t.Errorf("resolv.conf: %q", out)
	}

	// No packet gets in by the veth from outside of the machine: the foreign namespace has no route, so ask the rules for it.
	rules, err := exec.Command("nft", "list", "table", "inet", "gitd_"+h.id).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, rules)
	}
	t.Logf("%s", rules)

	for _, c := range []*Container{neighbour, stranger} {
		if err := c.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	networkIsGone(t, h, other)
}

// networkIsGone checks that interfaces go with their containers, and tables with the last Host.
func networkIsGone(t *testing.T, h, other *Host) {
	t.Helper()
	name := h.network.prefix()
	eventually(t, func() error {
		links, err := net.Interfaces()
		n := 0
		for _, l := range links {
			if strings.HasPrefix(l.Name, name) {
				n++
			}
		}
		if n > 1 { // one is made ahead
			return fmt.Errorf("%d interfaces are left", n)
		}
		return err
	})
	for _, x := range []*Host{h, other} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if out, err := exec.Command("nft", "list", "table", "inet", "gitd_"+x.id).CombinedOutput(); err == nil {
			t.Errorf("the table is left: %s", out)
		}
	}
}

func TestReachableServers(t *testing.T) {
	local := func(a netip.Addr) bool { return a.IsLoopback() || a.String() == "10.0.0.5" }
	for name, c := range map[string]struct {
		in, out string
		ok      bool
	}{
		"plain":    {"nameserver 1.1.1.1\n", "nameserver 1.1.1.1\n", true},
		"loopback": {"# systemd\nnameserver 127.0.0.53\noptions edns0\n", "options edns0\n", false},
		"own":      {"nameserver 10.0.0.5\nnameserver 10.0.0.6\nsearch a b\n", "nameserver 10.0.0.6\nsearch a b\n", true},
		"six":      {"nameserver fe80::1%eth0\nnameserver 2001:db8::1\n", "", false},
		"junk":     {"nameserver\nnameserver x\n\x00\n", "", false},
	} {
		if out, ok := reachableServers(c.in, local); out != c.out || ok != c.ok {
			t.Errorf("%s: %q, %v", name, out, ok)
		}
	}
}
