package knative

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/kube"
)

// Limits on the response that Probe reads.
const (
	probeBody = 1 << 20
	bodyTime  = 2 * time.Second // for the body, after the status
)

// Probe implements deploy.Platform. The request goes through the ingress, by the host of the tag. It waits until the ingress has taken the
// tag: before that it would itself answer with 404.
func (p *Platform) Probe(ctx context.Context, service, tag, path string) (int, error) {
	ctx = p.calling(ctx)
	u, err := p.tagURL(ctx, service, tag)
	if err != nil {
		return 0, explained(ctx, err, "find the tag "+tag+" of "+service)
	}
	return p.request(ctx, http.MethodGet, u, path)
}

// tagURL is where a tag answers.
func (p *Platform) tagURL(ctx context.Context, service, tag string) (*url.URL, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var changed <-chan struct{}
	since, told := time.Now(), false
	for {
		live, err := p.find(ctx, service)
		if err != nil {
			return nil, err
		}
		if tag == "" || !hasTag(live.Spec.Traffic, tag) {
			return nil, notFound("tag", tag+" of service "+service)
		}
		c := live.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
		if live.Status.ObservedGeneration == live.Generation && c.IsTrue() {
			for _, t := range live.Status.Traffic {
				if t.Tag == tag && t.URL != nil && sameTraffic(live.Status.Traffic, targets(live)) {
					return t.URL.URL(), nil
				}
			}
		}
		if err := p.slowRoute(ctx, c, service, since, &told); err != nil {
			return nil, err
		}
		if changed == nil {
			changed = p.c.Watch(ctx, kube.Interest{Resource: services, Namespace: live.Namespace, Name: service})
		}
		select {
		case <-changed:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func hasTag(traffic []servingv1.TrafficTarget, tag string) bool {
	for _, t := range traffic {
		if t.Tag == tag {
			return true
		}
	}
	return false
}

// transport sends requests to the cluster's ingress, whatever their host.
func (p *Platform) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, Proxy: nil, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if p.o.Ingress != "" {
			address = p.o.Ingress
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
}

// request sends a request to a host of the cluster and returns the status of the answer.
func (p *Platform) request(ctx context.Context, method string, u *url.URL, path string) (int, error) {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	to, err := url.Parse(u.Scheme + "://" + u.Host + path)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
	if err != nil {
		return 0, err
	}
	q.Header.Set("User-Agent", "gitd-check")
	res, err := p.transport().RoundTrip(q)
	if err != nil {
		return 0, fmt.Errorf("GET %s: %w", to, err)
	}
	defer res.Body.Close()
	stop := time.AfterFunc(bodyTime, cancel)
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, probeBody)
	return res.StatusCode, nil
}
