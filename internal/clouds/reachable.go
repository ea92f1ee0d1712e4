package clouds

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Dialer connects to what is Reachable, and has refused make the error for any other address. It looks at the address itself, after the look-up: no second
// look-up can say otherwise.
func Dialer(allowed []netip.Prefix, refused func(netip.Addr) error) *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		own, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		if !Reachable(to.Addr().Unmap(), own, allowed) {
			return refused(to.Addr())
		}
		return nil
	}}
}

// Reachable says whether a stranger may make this machine, which has the addresses own, talk to ip: a push to the host of a submodule, or a command to a
// registry. What is allowed counts first.
func Reachable(ip netip.Addr, own []net.Addr, allowed []netip.Prefix) bool {
	for _, p := range allowed {
		if p.Contains(ip) {
			return true
		}
	}
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsLinkLocalMulticast() {
		return false
	}
	if b := ip.As16(); ip.Is6() && (strings.HasPrefix(string(b[:]), "\x00\x64\xff\x9b") || strings.HasPrefix(string(b[:]), strings.Repeat("\x00", 12)) || b[0] == 0x20 && b[1] == 0x02) {
		return false // NAT64, IPv4-compatible and 6to4 addresses hold another address
	}
	if ip.Is4() && (ip.As4()[0] == 0 || ip.As4()[0] >= 240) {
		return false
	}
	if IsMetadata(ip) {
		return false
	}
	for _, a := range own {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		self, _ := netip.AddrFromSlice(n.IP)
		if self.Unmap() == ip {
			return false
		}
		if ones, bits := n.Mask.Size(); bits-ones <= 2 && n.Contains(ip.AsSlice()) { // the other end of a link to a container
			return false
		}
	}
	return true
}
