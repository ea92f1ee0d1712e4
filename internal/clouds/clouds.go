// Package clouds knows the addresses at which clouds tell a machine its secrets. Pushes, builds and apps are kept from them by this one list.
package clouds

import "net/netip"

// metadata are the addresses, and the ranges that hold nothing else for a machine's users.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),         // AWS, Azure, Google, Oracle, DigitalOcean, Hetzner, OpenStack, Tencent and most others; ECS and EKS too
	netip.MustParsePrefix("100.100.100.200/32"),     // Alibaba
	netip.MustParsePrefix("100.80.80.80/32"),        // UCloud
	netip.MustParsePrefix("168.63.129.16/32"),       // Azure's wire server
	netip.MustParsePrefix("192.0.0.192/32"),         // Oracle, the older one
	netip.MustParsePrefix("fe80::/10"),              // OpenStack: fe80::a9fe:a9fe
	netip.MustParsePrefix("fd00:ec2::/32"),          // AWS: ::254, and ::23 of EKS
	netip.MustParsePrefix("fd20:ce::254/128"),       // Google
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle
	netip.MustParsePrefix("fd00:a9fe:a9fe::/48"),    // Akamai (Linode)
	netip.MustParsePrefix("fd00:42::42/128"),        // Scaleway
}

// Metadata returns the networks, of IPv4 and IPv6.
func Metadata() []netip.Prefix { return append([]netip.Prefix(nil), metadata...) }

// IsMetadata says whether an address is one of a cloud's metadata service, also when it is written as an IPv6 address that holds an IPv4 one.
func IsMetadata(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range metadata {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
