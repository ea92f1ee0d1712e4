package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// resolvConf is the container's /etc/resolv.conf: the host's name servers that a container can reach.
func (n *network) resolvConf() string {
	for _, f := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if c, ok := reachableServers(string(b), n.isLocal); ok {
			return c
		}
	}
	n.log("no name server that containers can reach in /etc/resolv.conf nor in /run/systemd/resolve/resolv.conf: they cannot resolve names")
	return ""
}

// isLocal says whether an address is one of this host's.
func (n *network) isLocal(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	addrs, err := n.host.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, l := range addrs {
		if ip, ok := netip.AddrFromSlice(l.IP.To4()); ok && ip == a {
			return true
		}
	}
	return false
}

// reachableServers keeps the IPv4 name servers that are elsewhere, the search list and the options of a resolv.conf(5).
func reachableServers(conf string, local func(netip.Addr) bool) (string, bool) {
	var b strings.Builder
	found := false
	for line := range strings.Lines(conf) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			a, err := netip.ParseAddr(f[1])
			if err != nil || !a.Is4() || local(a) {
				continue
			}
			found = true
			fmt.Fprintf(&b, "nameserver %s\n", a)
		case "search", "domain", "options":
			b.WriteString(strings.Join(f, " ") + "\n")
		}
	}
	return b.String(), found
}
