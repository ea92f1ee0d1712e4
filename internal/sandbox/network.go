package sandbox

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// network makes the containers' network namespaces. Each has a loopback of its own. One with a way out also has a veth pair of its
// own, a /30 without a bridge, so that containers do not even share a link.
type network struct {
	id   string
	log  func(format string, args ...any)
	host *netlink.Handle // sockets in the host's namespace
	wall *firewall

	stop chan struct{} // ends the watch

	wait sync.WaitGroup

	mu sync.Mutex // mu guards the following

	ready  map[bool][]*space // made ahead, by egress: a start need not wait for them
	making map[bool]bool
	closed bool
}

// space is one network namespace. It lives as long as its file is open or a process is in it; its veth pair goes with it.
type space struct {
	file    *os.File
	address netip.Addr // of the container; the zero value without a way out
	resolv  string     // its /etc/resolv.conf
}

// The range that all gitd servers of a machine take their containers' addresses from, four for each.
var addressRange = netip.MustParsePrefix("10.231.0.0/16")

// addressLock serialises the choice of an address between the gitd servers of a machine.
const addressLock = "/run/gitd-addresses.lock"

func openNetwork(id string, log func(string, ...any)) (*network, error) {
	n := &network{id: id, log: log, ready: map[bool][]*space{}, making: map[bool]bool{}, stop: make(chan struct{})}
	var err error
	if n.host, err = netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER); err != nil {
		return nil, fmt.Errorf("sandbox: open netlink: %w", err)
	}
	if err := n.forward(); err != nil {
		n.host.Close()
		return nil, err
	}
	if n.wall, err = openFirewall(n.prefix(), "gitd_"+id, log); err != nil {
		n.host.Close()
		return nil, err
	}
	n.wait.Go(n.keepForwarding)
	return n, nil
}

// prefix starts the names of this Host's interfaces. gitdPrefix starts those of all.
func (n *network) prefix() string { return gitdPrefix + n.id }

const gitdPrefix = "gd"

// forward makes the kernel pass on the containers' packets.
func (n *network) forward() error {
	const f = "/proc/sys/net/ipv4/ip_forward"
	b, err := os.ReadFile(f)
	if err != nil {
		return app.Errorf(app.CodeUnavailable, "gitd needs /proc/sys/net", "cannot read whether the kernel forwards packets (%s): %w", f, err)
	}
	if strings.TrimSpace(string(b)) == "1" {
		return nil
	}
	if err := os.WriteFile(f, []byte("1"), 0); err != nil {
		return app.Errorf(app.CodeUnavailable, "run: sysctl -w net.ipv4.ip_forward=1", "cannot make the kernel forward packets (%s): %w", f, err)
	}
	n.log("set net.ipv4.ip_forward to 1: builds and apps reach the network through this host")
	return nil
}

// keepForwarding repeats that: an operator's `sysctl --system`, as installing a package runs it, may reset it.
func (n *network) keepForwarding() {
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	failed := false
	for {
		select {
		case <-n.stop:
			return
		case <-t.C:
			err := n.forward()
			if err != nil && !failed {
				n.log("%v", err)
			}
			failed = err != nil
		}
	}
}

// acquire returns a network namespace, made ahead where there is one.
func (n *network) acquire(egress bool) (*space, error) {
	if egress {
		if err := n.wall.ready(); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	var s *space
	if r := n.ready[egress]; len(r) > 0 {
		s, n.ready[egress] = r[len(r)-1], r[:len(r)-1]
	}
	n.mu.Unlock()
	if s == nil {
		var err error
		if s, err = n.make(egress); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// refill makes a namespace ahead, in the background: after a start, which it would slow down.
func (n *network) refill(egress bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.making[egress] || len(n.ready[egress]) > 0 {
		return
	}
	n.making[egress] = true
	n.wait.Go(func() {
		s, err := n.make(egress)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.making[egress] = false
		switch {
		case err != nil: // the next call of acquire meets the error
		case n.closed:
			_ = s.file.Close()
		default:
			n.ready[egress] = append(n.ready[egress], s)
		}
	})
}

// close closes the unused namespaces, and removes the firewall's rules when idle.
func (n *network) close(idle bool) {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	close(n.stop)
	n.wait.Wait()
	for _, r := range n.ready {
		for _, s := range r {
			_ = s.file.Close()
		}
	}
	n.wall.close()
	if idle {
		n.wall.remove()
	}
	n.host.Close()
}

// make makes a network namespace, on a thread that is in it.
func (n *network) make(egress bool) (*space, error) {
	s := &space{}
	var servers []netip.Addr
	if egress {
		s.resolv = n.resolvConf()
		servers = nameServers(s.resolv)
		if err := n.wall.resolve(servers); err != nil { // here, in the host's namespace
			return nil, fmt.Errorf("sandbox: make a network namespace: %w", err)
		}
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		var err error
		if s.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		inside, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer inside.Close()
		if err := configure(inside); err != nil || !egress {
			return err
		}
		return n.openWay(s, inside, servers)
	})
	if err != nil {
		if s.file != nil {
			_ = s.file.Close()
		}
		return nil, fmt.Errorf("sandbox: make a network namespace: %w", err)
	}
	return s, nil
}

// configure sets the kernel's parameters of the thread's namespace, which is /proc/sys/net, and brings its loopback up.
func configure(inside *netlink.Handle) error {
	for f, v := range map[string]string{
		"ipv4/ip_unprivileged_port_start":    "0",            // port 80 needs no capability in a namespace of one's own
		"ipv4/ping_group_range":              "0 2147483647", // nor does ping
		"ipv6/conf/default/disable_ipv6":     "1",            // there is no way out by IPv6; ::1 stays
		"ipv6/conf/default/accept_ra":        "0",
		"ipv4/conf/default/accept_redirects": "0",
		"ipv4/conf/all/rp_filter":            "0", // the host filters what comes in; with the closed routes this would drop the kernel's own errors too
		"ipv4/conf/default/rp_filter":        "0",
	} {
		if err := os.WriteFile("/proc/sys/net/"+f, []byte(v), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	return inside.LinkSetUp(lo)
}

// openWay gives the namespace its way out: a veth pair, an address, a default route, and the firewall inside.
func (n *network) openWay(s *space, inside *netlink.Handle, servers []netip.Addr) error {
	gateway, err := n.connect(s)
	if err != nil {
		return err
	}
	eth, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := inside.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(s.address)}); err != nil {
		return err
	}
	if err := inside.LinkSetUp(eth); err != nil {
		return err
	}
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
		return err
	}
	return n.wallIn(inside, eth.Attrs().Index, gateway, servers)
}

func ipNet(a netip.Addr) *net.IPNet { return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(30, 32)} }

// connect makes the veth pair: its one end with an address on the host, the other one, eth0, in the namespace. It chooses s.address.
func (n *network) connect(s *space) (gateway netip.Addr, err error) {
	lock, err := os.OpenFile(addressLock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return gateway, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return gateway, err
	}
	index, err := n.free()
	if err != nil {
		return gateway, err
	}
	base := addressRange.Addr().As4()
	at := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{base[0], base[1], byte(index >> 6), byte(index<<2 + i)})
	}
	gateway, s.address = at(1), at(2)
	n.forgetConnections(s.address)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = n.prefix() + fmt.Sprintf("%04x", index)
	attributes.MTU = n.mtu()
	if err := n.host.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerMTU: uint32(attributes.MTU), PeerNamespace: netlink.NsFd(int(s.file.Fd()))}); err != nil {
		return gateway, fmt.Errorf("make a veth pair: %w", err)
	}
	veth, err := n.host.LinkByName(attributes.Name)
	if err != nil {
		return gateway, err
	}
	if err := n.host.AddrAdd(veth, &netlink.Addr{IPNet: ipNet(gateway)}); err != nil {
		return gateway, err
	}
	return gateway, n.host.LinkSetUp(veth)
}

// free finds four addresses that no interface of this machine has. It begins at a place of the Host's own, so that a namespace
// that is still being taken down elsewhere is not met again at once.
func (n *network) free() (int, error) {
	used := map[int]bool{}
	addrs, err := n.host.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 0, fmt.Errorf("list the host's addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && addressRange.Contains(ip) {
			b := ip.As4()
			used[int(b[2])<<6|int(b[3])>>2] = true
		}
	}
	const all = 1 << 14
	f := fnv.New32a()
	_, _ = f.Write([]byte(n.id + strconv.Itoa(os.Getpid())))
	first := int(f.Sum32() % all)
	for i := range all {
		if k := (first + i) % all; k > 0 && !used[k] {
			return k, nil
		}
	}
	return 0, errors.New("all addresses of " + addressRange.String() + " are taken")
}

// mtu is that of the interface which the default route goes through.
func (n *network) mtu() int {
	routes, err := n.host.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 1500
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			if l, err := n.host.LinkByIndex(r.LinkIndex); err == nil && l.Attrs().MTU >= 576 {
				return min(l.Attrs().MTU, 1500)
			}
		}
	}
	return 1500
}
