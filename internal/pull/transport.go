package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/clouds"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Errors of a connection that is not made.
var (
	errClosed = errors.New("the server may not connect to that address")
	errPlain  = errors.New("it speaks plain HTTP")
)

// checked is a transport that connects to public addresses, to allowed networks, and by a proxy that the operator has set; and that sends nothing
// unencrypted to another machine.
type checked struct{ direct, proxied *http.Transport }

func newTransport(allowed []netip.Prefix) *checked {
	base := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: askTime, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: layersAtOnce,
		MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	if t, ok := remote.DefaultTransport.(*http.Transport); ok && t.TLSClientConfig != nil {
		base.TLSClientConfig = t.TLSClientConfig.Clone()
	}
	direct := base.Clone()
	direct.Proxy = nil
	direct.DialContext = clouds.Dialer(allowed, func(a netip.Addr) error { return fmt.Errorf("%s: %w", a, errClosed) }).DialContext
	return &checked{direct, base}
}

// RoundTrip implements http.RoundTripper.
func (c *checked) RoundTrip(q *http.Request) (*http.Response, error) {
	if host := q.URL.Hostname(); q.URL.Scheme != "https" && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return nil, errPlain
		}
	}
	if proxy, err := http.ProxyFromEnvironment(q); err != nil || proxy != nil {
		return c.proxied.RoundTrip(q)
	}
	return c.direct.RoundTrip(q)
}

func asError(err error, to **app.Error) bool { return errors.As(err, to) }

// words says why a registry did not tell what a reference means.
func words(ctx context.Context, ref name.Reference, w Wanted, err error) error {
	host, what := ref.Context().RegistryStr(), app.Plain(w.Reference)
	var (
		answer  *transport.Error
		dns     *net.DNSError
		network net.Error
	)
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return context.Cause(ctx)
	case errors.Is(err, errClosed):
		return app.Errorf(app.CodeForbidden, "use a registry that others can reach as well, or ask the operator to allow this one (gitd serve --images-from)", "the server may not connect to the registry %s", host)
	case errors.Is(err, errPlain), errors.Is(err, http.ErrSchemeMismatch):
		return app.Errorf(app.CodeInvalidInput, "use a registry that speaks TLS", "the registry %s speaks plain HTTP", host)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		if w.Username == "" {
			return app.Errorf(app.CodeForbidden, "give credentials: --username NAME, and the password on standard input; or check the name", "%s: the registry %s does not show it to everybody, or has no such image", what, host)
		}
		return app.Errorf(app.CodeForbidden, "check the user name and the password, and that they may read it", "%s: the registry %s refuses it to the user %q", what, host, app.Plain(app.Clip(w.Username, 60)))
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return app.Errorf(app.CodeNotFound, "check its name and tag, and that it was pushed", "%s: the registry %s has no such image", what, host)
	case errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests:
		return app.Errorf(app.CodeUnavailable, "try again later, or give credentials: --username NAME", "%s: the registry %s gets too many requests from here", what, host)
	case errors.As(err, &answer):
		return app.Errorf(app.CodeUnavailable, "look at the registry, then try again", "%s: the registry %s failed with status %d", what, host, answer.StatusCode)
	case errors.As(err, &dns) && dns.IsNotFound:
		return app.Errorf(app.CodeInvalidInput, "check the name", "the registry's host %s is not known", host)
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return app.Errorf(app.CodeUnavailable, "check that it runs, and try again", "the registry %s cannot be reached: %w", host, err)
	}
	return app.Errorf(app.CodeUnavailable, "look at the registry, then try again", "%s: the registry %s failed: %w", what, host, err)
}
