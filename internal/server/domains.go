package server

import (
	"context"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/deploy/local"
	"github.com/gitd-io/gitd/internal/dns"
	"github.com/gitd-io/gitd/internal/domain"
)

// openDomains makes what decides on the domains of apps, and has their certificates served.
func (s *Server) openDomains(ctx context.Context) error {
	c := s.o.Config
	o := domain.Options{Store: s.store, Platform: s.runner.platform(), Resolver: &dns.Client{Server: c.Domains.DNSServer}, Domain: c.Server.Domain,
		Own: s.runner.own, Addresses: c.Domains.Addresses, Log: s.o.Log, Folder: certificate.Folder(s.path(certificatesDir)), Now: now}
	if m, ok := s.runner.(*machine); ok {
		o.Publish = func(served domain.Served) {
			m.local.PublishCertificates(&local.Certificates{ByName: served.Certificates, Challenges: served.Challenges, Tokens: served.Tokens})
		}
	}
	onMachine := o.Publish != nil
	o.Records = c.Domains.DNS != ""
	switch c.Domains.Issuer {
	case config.OwnIssuer:
		o.Wildcard = true
	case config.ACME:
		o.Wildcard = o.Records
		o.Proven = func(name string) bool { return !onMachine && o.Records || strings.HasPrefix(name, "*.") }
		issuer, err := s.newACME(o.Proven)
		if err != nil {
			return err
		}
		o.Issuer = issuer
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			issuer.Run(s.stopping)
		}()
		s.onClose(func() error { s.stop(); <-ended; return nil })
	}
	s.domains = domain.New(o)
	if o.Records {
		if err := s.answerDNS(c.Domains.DNS); err != nil {
			return err
		}
	}
	if c.Domains.Issuer == config.OwnIssuer {
		ca, err := s.authority()
		if err != nil {
			return err
		}
		s.domains.UseAuthority(s.stopping, ca)
	}
	return s.domains.Load(ctx)
}

var authorityMaking sync.Mutex

// authority opens the server's own authority, and makes it where there is none.
func (s *Server) authority() (*certificate.Authority, error) {
	authorityMaking.Lock()
	defer authorityMaking.Unlock()
	return certificate.OpenAuthority(s.path(authorityDir), now)
}

// secure says how the data plane serves HTTPS; nil where it does not.
func (s *Server) secure() *local.Secure {
	c := s.o.Config.HTTP
	if s.o.HTTPSPort == 0 {
		return nil
	}
	return &local.Secure{Port: s.o.HTTPSPort, Stay: c.NoRedirect, HSTS: c.HSTS, Wanted: func(name string) bool { return s.domains.Demand(name) }}
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
