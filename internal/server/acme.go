package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/acme"
	"github.com/gitd-io/gitd/internal/acme/wire"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/dns"
	"github.com/gitd-io/gitd/internal/domain"
	"github.com/gitd-io/gitd/internal/store"
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
	if s.o.platform() != config.Local { // the ingress speaks TLS, and knows no tls-alpn-01
		if len(c.ACME.Challenges) > 0 && !slices.Contains(c.ACME.Challenges, wire.HTTP) && c.DNS == "" {
			return nil, app.Errorf(app.CodeInvalidInput, "leave --acme-challenge out, or answer by records: --dns", "--acme-challenge: on a cluster names are proven by http-01, or by records of the DNS")
		}
		c.ACME.Challenges = []string{wire.HTTP}
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
		Tried: func(t wire.Tried) { s.domains.Tried(t.Name, domain.Attempt{Failed: t.Failed, Next: t.Next}) },
		Challenge: func(c wire.Challenge, done func(error)) {
			if on, ok := s.runner.(*onCluster); ok && c.Type == wire.HTTP {
				go func() { done(s.answerOn(on, c)) }()
				return
			}
			s.answer(c)
			done(nil)
		},
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

// answerOn has a cluster's ingress answer a challenge, or no more.
func (s *Server) answerOn(on *onCluster, c wire.Challenge) error {
	all, err := s.store.Domains(s.stopping, "")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(d store.Domain) bool { return d.Name == c.Name })
	switch {
	case i < 0:
		return nil // it was removed meanwhile, with what answered for it
	case c.End:
		err = on.knative.EndProof(s.stopping, all[i].App, c.Name)
	default:
		err = on.knative.Prove(s.stopping, all[i].App, c.Name, c.Text)
	}
	if err != nil {
		s.o.Log("certificates: the proof for %s: %v", c.Name, err)
	}
	return err
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
