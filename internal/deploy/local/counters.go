package local

import (
	"context"
	"fmt"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Counters implements deploy.Platform.
func (p *Platform) Counters(_ context.Context, service string) (map[string]deploy.Counters, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := p.services[service]
	if s == nil {
		return nil, fmt.Errorf("service %s: %w", service, deploy.ErrNotFound)
	}
	all := make(map[string]deploy.Counters, len(s.revisions))
	for name, r := range s.revisions {
		classes, latency := r.proxy.Counts()
		c := deploy.Counters{Errors: classes[5], Latency: make([]deploy.Bucket, len(latency))}
		for _, n := range classes {
			c.Requests += n
		}
		for i, l := range latency {
			c.Latency[i] = deploy.Bucket{UpTo: l.UpTo, Count: l.N}
		}
		all[name] = c
	}
	return all, nil
}

// Can implements deploy.Platform.
func (p *Platform) Can(deploy.Ability) bool { return true }
