package knative

import (
	"context"
	"fmt"
	"net/http"
)

// Send implements deploy.Platform. The request goes through the ingress, by the Service's own host.
func (p *Platform) Send(ctx context.Context, service string, r *http.Request) (*http.Response, error) {
	live, err := p.find(p.calling(ctx), service)
	if err != nil {
		return nil, explained(ctx, err, "find "+service)
	}
	if live.Status.URL == nil {
		return nil, notFound("address", "of service "+service)
	}
	r = r.Clone(ctx)
	u := *live.Status.URL.URL()
	r.URL.Scheme, r.URL.Host, r.Host = u.Scheme, u.Host, u.Host
	res, err := p.transport().RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Redacted(), err)
	}
	return res, nil
}
