package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Limits on the response that Probe reads.
const (
	probeBody = 1 << 20
	probeTime = 2 * time.Second // for the body, after the status
)

// Probe implements deploy.Platform. The request goes through the whole data plane: the tag's route, the revision's queue, a
// connection into an instance's network namespace.
func (p *Platform) Probe(ctx context.Context, service, tag, path string) (int, error) {
	p.mu.RLock()
	s := p.services[service]
	found := false
	if s != nil {
		for _, t := range s.traffic {
			found = found || t.Tag == tag && tag != ""
		}
	}
	p.mu.RUnlock()
	if !found {
		return 0, fmt.Errorf("tag %s of service %s: %w", tag, service, deploy.ErrNotFound)
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+tag+"-"+service+"."+p.opts.Domain+path, nil)
	if err != nil {
		return 0, err
	}
	q.Header.Set("User-Agent", "gitd-check")
	a, err := p.proxy.RoundTrip(service+"/"+tag, q)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return 0, cause
		}
		return 0, errors.New("no answer")
	}
	defer a.Body.Close()
	defer time.AfterFunc(probeTime, cancel).Stop() // an endless response ends after some time
	_, _ = io.CopyN(io.Discard, a.Body, probeBody)
	return a.StatusCode, nil
}
