package local

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// readiness returns the check of a readiness probe, and how often in a row it must pass. Knative's default is
// that the port accepts connections.
func readiness(p *corev1.Probe, name string, port int, h2c bool, dial func(context.Context, int) (net.Conn, error)) (check func(context.Context) bool, needed int) {
	timeout, needed := time.Second, 1
	if p != nil {
		if p.TimeoutSeconds > 0 {
			timeout = time.Duration(p.TimeoutSeconds) * time.Second
		}
		if p.SuccessThreshold > 1 {
			needed = int(p.SuccessThreshold)
		}
		if get := p.HTTPGet; get != nil {
			if v := get.Port.IntValue(); v > 0 {
				port = v
			}
			return func(ctx context.Context) bool {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				return httpGet(ctx, get, name, h2c, func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, port) })
			}, needed
		}
		if tcp := p.TCPSocket; tcp != nil {
			if v := tcp.Port.IntValue(); v > 0 {
				port = v
			}
		}
	}
	return func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		c, err := dial(ctx, port)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}, needed
}

// httpGet passes, as in Kubernetes, on a status from 200 to 399.
func httpGet(ctx context.Context, get *corev1.HTTPGetAction, host string, h2c bool, dial func(context.Context, string, string) (net.Conn, error)) bool {
	path := get.Path
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return false
	}
	q.Header.Set("User-Agent", "kube-probe/gitd")
	for _, h := range get.HTTPHeaders {
		q.Header.Add(h.Name, h.Value)
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			q.Host = h.Value
		}
	}
	t := &http.Transport{DialContext: dial, DisableKeepAlives: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(!h2c)
	t.Protocols.SetUnencryptedHTTP2(h2c)
	defer t.CloseIdleConnections()
	res, err := t.RoundTrip(q)
	if err != nil {
		return false
	}
	_, _ = io.CopyN(io.Discard, res.Body, 10<<10)
	_ = res.Body.Close()
	return res.StatusCode >= 200 && res.StatusCode < 400
}
