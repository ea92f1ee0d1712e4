package server

import (
	"context"

	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/dns"
	"github.com/gitd-io/gitd/internal/domain"
)

// openDomains makes what decides on the domains of apps.
func (s *Server) openDomains() *domain.Manager {
	c := s.o.Config
	return domain.New(domain.Options{Store: s.store, Platform: s.runner.platform(), Resolver: &dns.Client{Server: c.Domains.DNSServer}, Domain: c.Server.Domain,
		Own: s.runner.own, Addresses: c.Domains.Addresses, Log: s.o.Log})
}

// routeDomains tells a cluster the domains again, where an earlier process may have ended before it did. A machine was told when it was opened.
func (s *Server) routeDomains(ctx context.Context) {
	if s.o.platform() == config.Local {
		return
	}
	all, err := domain.Routes(ctx, s.store)
	if err != nil {
		s.o.Log("domains: %v", err)
	}
	for name := range all {
		if err := s.domains.Apply(ctx, name); err != nil {
			s.o.Log("domains: those of %s: %v", name, err)
		}
	}
}
