package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/gitd-io/gitd/internal/acme"
	"github.com/gitd-io/gitd/internal/acme/wire"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/dns"
	"github.com/gitd-io/gitd/internal/domain"
	"golang.org/x/net/dns/dnsmessage"
)

// letsEncrypt is the directory where none is set.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// newACME makes what obtains certificates by ACME. proven says which names are proven by the DNS alone.
func (s *Server) newACME(proven func(string) bool) (*acme.Issuer, error) {
	c := s.o.Config.Domains
	if len(c.ACME.Directories) == 0 {
		c.ACME.Directories = []string{letsEncrypt}
	}
	if !c.ACME.Agree {
		return nil, app.Errorf(app.CodeInvalidInput, "read the terms that the directory links, and agree: --acme-agree", "--issuer acme takes your agreement to the terms of the authorities: %s", strings.Join(c.ACME.Directories, ", "))
	}
	w := wire.Config{Dir: s.path(acmeDir), Directories: c.ACME.Directories, Email: c.ACME.Email, Challenges: c.ACME.Challenges, Resolver: c.DNSServer, Every: c.ACME.Every}
	if c.ACME.Roots != "" {
		b, err := os.ReadFile(c.ACME.Roots)
		if err != nil {
			return nil, app.Errorf(app.CodeInvalidInput, "name a file with certificates in PEM", "--acme-roots %s cannot be read: %w", c.ACME.Roots, err)
		}
		w.Roots = string(b)
	}
	return acme.New(acme.Options{Config: w, DNS: proven, Log: s.o.Log,
		Certificate: func(c wire.Certificate) {
			p, err := certificate.Parse([]byte(c.Chain), []byte(c.Key))
			if err != nil {
				s.o.Log("certificates: that of %s: %v", c.Name, err)
				return
			}
			s.domains.Obtained(c.Name, p)
		},
		Tried:     func(t wire.Tried) { s.domains.Tried(t.Name, domain.Attempt{Failed: t.Failed, Next: t.Next}) },
		Challenge: s.answer,
	}), nil
}

// answer has a challenge answered, or no more.
func (s *Server) answer(c wire.Challenge) {
	switch c.Type {
	case wire.HTTP:
		s.domains.Challenge(c.Name, c.Token, c.Text, nil)
	case wire.ALPN:
		var proof *tls.Certificate
		if !c.End {
			pair, err := tls.X509KeyPair([]byte(c.Text), []byte(c.Text))
			if err != nil {
				s.o.Log("certificates: the proof for %s: %v", c.Name, err)
				return
			}
			proof = &pair
		}
		s.domains.Challenge(c.Name, "", "", proof)
	case wire.DNS:
		s.domains.Proof(c.Name, c.Text, c.End)
	}
}

// answerDNS answers the DNS until the server ends.
func (s *Server) answerDNS(address string) error {
	refused := func(err error) error {
		return app.Errorf(app.CodeUnavailable, "stop what listens there (ss -lunp shows it), or choose another: --dns ADDRESS", "cannot answer the DNS at %s: %w", address, err)
	}
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return refused(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		return errors.Join(refused(err), tcp.Close())
	}
	s.dnsAddress = tcp.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server := &dns.Server{Answer: func(name string, t dnsmessage.Type) dns.Reply { return s.domains.Answer(name, t) }}
		if err := server.Serve(ctx, udp, tcp); err != nil {
			s.o.Log("dns: %v", err)
		}
	}()
	s.onClose(func() error { cancel(); <-ended; return nil })
	return nil
}
