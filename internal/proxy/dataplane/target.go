package dataplane

import (
	"net/http"
	"net/url"
	"strings"
)

// keepTarget makes out ask for exactly what the client asked for. net/http parses a request target and puts it together again,
// and httputil drops the parameters of a query that it cannot parse: an app may mean something by each byte of it.
func keepTarget(out *http.Request, in *http.Request) {
	target := strings.ReplaceAll(origin(in.RequestURI), " ", "%20") // HTTP/2 can carry one; in HTTP/1 it would end the target
	if target == "" {                                               // not from the wire
		out.URL.RawQuery = in.URL.RawQuery
		return
	}
	if strings.HasPrefix(target, "//") { // net/http would take it for a host
		out.URL.Path, out.URL.RawPath = in.URL.Path, in.URL.RawPath
		out.URL.RawQuery, out.URL.ForceQuery = in.URL.RawQuery, in.URL.ForceQuery
		return
	}
	*out.URL = url.URL{Scheme: out.URL.Scheme, Host: out.URL.Host, Opaque: target} // a copy of its own already
}

// origin is a request target in the form that an app gets: RFC 9112, 3.2.1, also where the client sent the one for proxies.
func origin(target string) string {
	if target == "" || target[0] == '/' || target == "*" {
		return target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target
	}
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	}
	return rest[i:]
}
