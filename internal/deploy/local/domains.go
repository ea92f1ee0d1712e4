package local

import (
	"context"
	"slices"

	"github.com/gitd-io/gitd/internal/deploy"
)

// SetDomains implements deploy.Platform. They are not stored: who opens the platform tells it (Options.Domains).
func (p *Platform) SetDomains(_ context.Context, service string, domains []deploy.Domain) error {
	defer p.lock(service)()
	defer p.proxy.Settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(domains) == 0 {
		delete(p.domains, service)
	} else {
		p.domains[service] = slices.Clone(domains)
	}
	p.publish()
	return nil
}

// hosts are the names that lead to all of a Service. The caller holds mu.
func (p *Platform) hosts(service string) []string {
	all := []string{service + "." + p.opts.Domain}
	for _, d := range p.domains[service] {
		all = append(all, d.Name)
	}
	return all
}
