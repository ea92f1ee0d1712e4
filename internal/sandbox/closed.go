package sandbox

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/clouds"
)

// The second wall stands in the container's own namespace: routes that lead nowhere. A flush of the host's rules does not reach it, and the
// container has no right to change it. It knows the host's addresses of the moment in which the namespace was made; the firewall knows them always.

// wallIn closes the ways from a namespace to this host, to other containers, and to clouds' metadata but for name servers there.
func (n *network) wallIn(inside *netlink.Handle, link int, gateway netip.Addr, servers []netip.Addr) error {
	closed := []netip.Prefix{addressRange, netip.PrefixFrom(gateway, 32)}
	closed = append(closed, clouds.Metadata()...)
	own, err := n.host.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range own {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && !ip.IsLoopback() && !addressRange.Contains(ip) {
			closed = append(closed, netip.PrefixFrom(ip, 32))
		}
	}
	for _, p := range closed {
		if !p.Addr().Is4() || p.IsSingleIP() && slices.Contains(servers, p.Addr()) {
			continue
		}
		if err := inside.RouteAdd(&netlink.Route{Dst: prefixNet(p), Type: unix.RTN_UNREACHABLE}); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	for _, s := range servers {
		if clouds.IsMetadata(s) {
			if err := inside.RouteAdd(&netlink.Route{LinkIndex: link, Dst: prefixNet(netip.PrefixFrom(s, 32)), Gw: gateway.AsSlice()}); err != nil && !errors.Is(err, unix.EEXIST) {
				return err
			}
		}
	}
	return nil
}

func prefixNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// nameServers reads them out of a resolv.conf(5).
func nameServers(conf string) []netip.Addr {
	var found []netip.Addr
	for line := range strings.Lines(conf) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "nameserver" {
			if a, err := netip.ParseAddr(f[1]); err == nil {
				found = append(found, a)
			}
		}
	}
	return found
}

// forgetConnections removes what the kernel remembers of the connections of an address's last owner. They would count as the next
// one's, and stay for days where the owner was killed.
func (n *network) forgetConnections(a netip.Addr) {
	_, _ = n.host.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, sentBy(a))
}

// sentBy matches connections by their initiator.
type sentBy netip.Addr

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (s sentBy) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	a, ok := netip.AddrFromSlice(f.Forward.SrcIP)
	return ok && a.Unmap() == netip.Addr(s)
}
