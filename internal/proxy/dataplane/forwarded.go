package dataplane

import (
	"net/http"
	"net/netip"
	"strings"
)

// Headers in which a proxy describes the client and its connection, beside the X-Forwarded headers. Apps and frameworks trust these
// names, so a client may not choose their content. Names are folded: lower case, "-" for "_".
var (
	toldNames = set("forwarded", "x-forwarded",
		"x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip", "x-remote-addr", "x-originating-ip", "x-original-forwarded-for",
		"x-original-host", "x-original-proto", "x-envoy-external-address", "x-appengine-user-ip", "x-azure-clientip", "x-azure-socketip",
		"true-client-ip", "client-ip", "cf-connecting-ip", "cf-connecting-ipv6", "cf-visitor", "cf-pseudo-ipv4",
		"fastly-client-ip", "fastly-ssl", "fly-client-ip", "fly-forwarded-proto", "fly-forwarded-ssl", "fly-forwarded-port", "do-connecting-ip",
		"x-scheme", "x-url-scheme", "x-https", "x-ssl", "front-end-https", "x-arr-ssl", "x-proxyuser-ip",
		"client-cert", "client-cert-chain", "x-arr-clientcert",
		"forwarded-for", "forwarded-proto", "forwarded-host", "x-forward-for", "x-forward-proto", "x-forward-host", "x-original-for",
		"x-host", "x-http-host-override", "x-nf-client-connection-ip", "incap-client-ip", "wl-proxy-client-ip", "proxy-client-ip",
		"cloudfront-viewer-address", "cloudfront-forwarded-proto", "https", "proxy", "remote-user", "remote-addr", "remote-host")
	toldBegin = []string{"x-forwarded-", "x-client-cert", "x-client-verify", "x-client-dn", "x-ssl-", "ssl-client-", "x-amzn-mtls-"}
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// aboutClient reports whether a header is one in which a proxy describes the client, and whether it is spelled with an underscore. CGI and
// WSGI turn both spellings into one variable, so a proxy that sets one does not mean the other.
func aboutClient[T string | []byte](name T) (yes, underscore bool) {
	if len(name) == 0 {
		return false, false
	}
	switch name[0] { // most headers end here
	case 'X', 'x', 'F', 'f', 'C', 'c', 'T', 't', 'S', 's', 'D', 'd', 'H', 'h', 'I', 'i', 'P', 'p', 'R', 'r', 'W', 'w':
	default:
		return false, false
	}
	var buffer [48]byte
	if len(name) > len(buffer) {
		folded := strings.ToLower(strings.ReplaceAll(string(name), "_", "-"))
		return begins(folded), strings.Contains(string(name), "_")
	}
	folded := buffer[:len(name)]
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			c, underscore = '-', true
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	return toldNames[string(folded)] || begins(string(folded)), underscore
}

// refused reports whether a peer may not send the app a header or trailer of this name.
func refused(name string, trusted bool) bool {
	yes, underscore := aboutClient(name)
	return yes && (!trusted || underscore)
}

func begins(folded string) bool {
	for _, p := range toldBegin {
		if strings.HasPrefix(folded, p) {
			return true
		}
	}
	return false
}

// forward sets the headers that describe the client. From an untrusted peer, and in spellings with an underscore, nothing is
// passed on; those of a trusted peer stay, and the peer's address is added. in is the request as received, out the one to the app.
func forward(in, out *http.Request, trusted bool) {
	for name := range out.Header {
		if refused(name, trusted) {
			delete(out.Header, name)
		}
	}
	peer := address(in.RemoteAddr)
	client, host, proto := peer, in.Host, "http"
	if in.TLS != nil {
		proto = "https"
	}
	if trusted {
		if before := strings.Join(in.Header["X-Forwarded-For"], ", "); before != "" {
			client = before + ", " + peer
		}
		host, proto = first(in.Header["X-Forwarded-Host"], host), first(in.Header["X-Forwarded-Proto"], proto)
		if before := strings.Join(in.Header["Forwarded"], ", "); before != "" { // RFC 7239
			out.Header["Forwarded"] = []string{before + ", for=" + node(peer)}
		}
	}
	values := [3]string{client, host, proto} // one allocation
	out.Header["X-Forwarded-For"] = values[0:1:1]
	out.Header["X-Forwarded-Host"] = values[1:2:2]
	out.Header["X-Forwarded-Proto"] = values[2:3:3]
}

// first returns the value of a header, or what stands for one that is not there.
func first(values []string, otherwise string) string {
	if len(values) == 0 || values[0] == "" {
		return otherwise
	}
	return strings.Join(values, ", ")
}

// address is an IP address without the port.
func address(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		remote = remote[:i]
	}
	return strings.TrimSuffix(strings.TrimPrefix(remote, "["), "]")
}

// node is an address as RFC 7239 writes it.
func node(address string) string {
	if strings.Contains(address, ":") {
		return `"[` + address + `]"`
	}
	return address
}

// trusts says whether a peer is one of the trusted proxies.
func (p *Plane) trusts(remote string) bool {
	if len(p.trusted) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	return Within(p.trusted, peer.Addr())
}

// Within says whether an address is in one of the networks. An IPv4 address that is written as an IPv6 one counts as IPv4; a zone does not count.
func Within(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
