package local

import (
	"context"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Counters implements deploy.Platform.
func (p *Platform) Counters(_ context.Context, service string) (map[string]deploy.Counters, error) {
	p.proxy.Refresh()
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, err := p.service(service)
	if err != nil {
		return nil, err
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
