package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Check finds out whether images can be put into the registry. The errors are *app.Error.
func (r *Remote) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := r.speaks(ctx); err != nil {
		return err
	}
	repo, err := r.repository("gitd-check")
	if err != nil {
		return err
	}
	ref := repo.Tag("latest")
	done := make(chan error, 1) // it takes no context
	go func() { done <- remote.CheckPushPermission(ref, r.keychain, contextTransport{ctx, r.client}) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			if a, e := r.keychain.Resolve(repo); e == nil && a == authn.Anonymous {
				return app.Errorf(app.CodeUnavailable, r.nextLogin(), "the registry %s requires credentials, and none are configured for it: %w", r.o.Prefix, err)
			}
			if answer.StatusCode == http.StatusUnauthorized {
				return app.Errorf(app.CodeUnavailable, r.nextLogin(), "the registry %s does not accept the credentials: %w", r.o.Prefix, err)
			}
			return app.Errorf(app.CodeUnavailable, "give the account the right to push to "+r.o.Prefix, "the credentials may not push to %s: %w", r.o.Prefix, err)
		case http.StatusNotFound:
			return app.Errorf(app.CodeUnavailable, "make the project there first, or name another", "the registry has no place called %s: %w", r.o.Prefix, err)
		case http.StatusMethodNotAllowed:
			return app.Errorf(app.CodeUnavailable, "name one that images can be put into", "the registry %s is read-only: %w", r.o.Prefix, err)
		}
	}
	if err != nil {
		return r.words(ctx, r.o.Prefix, err)
	}
	return nil
}

func (r *Remote) nextLogin() string {
	if r.o.Config != "" {
		return "put working credentials for " + r.registry.RegistryStr() + " into " + r.o.Config
	}
	return "name a docker config.json that has them: --registry-config FILE"
}

// speaks asks whether there is a registry, and whether it speaks as it should: TLS, or plain HTTP where that was chosen.
func (r *Remote) speaks(ctx context.Context) error {
	scheme := "https"
	if r.o.Insecure || r.registry.Scheme() == "http" && isLoopback(r.registry.RegistryStr()) {
		scheme = "http"
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.registry.RegistryStr()+"/v2/", nil)
	if err != nil {
		return err
	}
	a, err := r.client.RoundTrip(q)
	if err != nil {
		return r.words(ctx, r.o.Prefix, err)
	}
	defer a.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(a.Body, 4096))
	switch {
	case scheme == "http" && a.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "HTTPS"):
		return app.Errorf(app.CodeInvalidInput, "leave out --registry-insecure", "the registry %s speaks TLS, not plain HTTP", r.o.Prefix)
	case a.StatusCode == http.StatusOK, a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden, a.StatusCode/100 == 3:
		return nil
	case a.StatusCode/100 == 5:
		return app.Errorf(app.CodeUnavailable, "look at the registry, then try again", "the registry %s is out of order: it answers %s", r.o.Prefix, a.Status)
	}
	return app.Errorf(app.CodeInvalidInput, "check the name and the port", "%s is not a registry: it answers %s to /v2/", r.registry.RegistryStr(), a.Status)
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// contextTransport sends requests that end with a context. What tidies up may outlive it for a moment.
type contextTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t contextTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	ctx := t.ctx
	if q.Method == http.MethodDelete {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		context.AfterFunc(after, cancel)
		ctx = after
	}
	return t.next.RoundTrip(q.WithContext(ctx))
}

// words makes an error for people of what the registry, or the way to it, answered.
func (r *Remote) words(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	host := r.registry.RegistryStr()
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		network   net.Error
		answer    *transport.Error
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return app.Errorf(app.CodeInvalidInput, "allow that with --registry-insecure, where the network between is trusted", "the registry %s speaks plain HTTP, not TLS: %w", host, err)
	case errors.As(err, &authority):
		return app.Errorf(app.CodeUnavailable, "add the authority to this machine's (update-ca-certificates), or name a bundle in SSL_CERT_FILE; the nodes need it as well",
			"the certificate of the registry %s is signed by an authority that is not trusted here: %w", host, err)
	case errors.As(err, &hostname):
		return app.Errorf(app.CodeUnavailable, "use a name that the certificate is for", "the certificate of the registry is not for %s: %w", host, err)
	case errors.As(err, &invalid):
		return app.Errorf(app.CodeUnavailable, "renew the certificate, and check the clocks", "the certificate of the registry %s is not valid: %w", host, err)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return app.Errorf(app.CodeUnavailable, r.nextLogin(), "the registry %s refuses access to %s: %w", host, what, err)
	case errors.As(err, &answer) && answer.StatusCode == http.StatusTooManyRequests:
		return app.Errorf(app.CodeUnavailable, "try again later, or use an account with a larger quota", "the registry %s gets too many requests: %w", host, err)
	case errors.As(err, &answer):
		return app.Errorf(app.CodeUnavailable, "look at the registry, then try again", "the registry %s failed on %s: %w", host, what, err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return app.Errorf(app.CodeInvalidInput, "check the name", "the registry's host %s is not known", host)
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF):
		return app.Errorf(app.CodeUnavailable, "check that it runs, and the network and the proxy variables (https_proxy) between", "the registry %s cannot be reached: %w", host, err)
	case errors.Is(err, errPlain):
		return app.Errorf(app.CodeInvalidInput, "allow that with --registry-insecure, where the network between is trusted", "the registry %s speaks plain HTTP only: %w", host, err)
	}
	return app.Errorf(app.CodeUnavailable, "look at the registry, then try again", "the registry %s failed on %s: %w", host, what, err)
}
