package local

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Inside answers requests that gitd makes itself, such as deliveries of events: they need not come by HTTPS, and what they say of a client is not passed on.
func (p *Platform) Inside(w http.ResponseWriter, r *http.Request) { p.proxy.ServeHTTP(w, r) }

// Send implements deploy.Platform. The request goes through the whole data plane.
func (p *Platform) Send(ctx context.Context, service string, r *http.Request) (*http.Response, error) {
	p.mu.RLock()
	known := p.services[service] != nil
	p.mu.RUnlock()
	if !known {
		return nil, fmt.Errorf("service %s: %w", service, deploy.ErrNotFound)
	}
	r = r.Clone(ctx)
	r.URL.Host = service + "." + p.opts.Domain
	r.Host = r.URL.Host
	a, err := p.proxy.RoundTrip("", r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("service %s: no answer: %w", service, err)
	}
	return a, nil
}
