package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// served are certificates as they are told.
type served struct {
	byName, challenges map[string]*wire.Certificate
	tokens             map[string]string
}

func newServed() *served {
	return &served{map[string]*wire.Certificate{}, map[string]*wire.Certificate{}, map[string]string{}}
}

// serve returns certificates as they are told, and the names of those that cannot be.
func serve(c *Certificates) (s *served, unread []string) {
	s = newServed()
	keep := func(to map[string]*wire.Certificate, from map[string]*tls.Certificate) {
		for name, one := range from {
			key, err := x509.MarshalPKCS8PrivateKey(one.PrivateKey)
			if err != nil {
				unread = append(unread, name)
				continue
			}
			to[name] = &wire.Certificate{Chain: one.Certificate, Key: key}
		}
	}
	keep(s.byName, c.ByName)
	keep(s.challenges, c.Challenges)
	for token, text := range c.Tokens {
		if text != "" {
			s.tokens[token] = text
		}
	}
	return s, unread
}

// tell tells the difference to those that come after.
func (s *served) tell(l *link, after *served) {
	m := wire.Certificates{}
	n := 0
	begin := func() {
		m, n = wire.Certificates{ByName: map[string]*wire.Certificate{}, Challenges: map[string]*wire.Certificate{}, Tokens: map[string]string{}}, 0
	}
	begin()
	more := func() {
		if n++; n >= wire.MaxSet {
			m.More = true
			l.Tell(wire.KindCertificates, m)
			begin()
		}
	}
	differ := func(to func() map[string]*wire.Certificate, before, after map[string]*wire.Certificate) {
		for name, one := range after {
			if !same(before[name], one) {
				to()[name] = one
				more()
			}
		}
		for name := range before {
			if after[name] == nil {
				to()[name] = nil
				more()
			}
		}
	}
	differ(func() map[string]*wire.Certificate { return m.ByName }, s.byName, after.byName)
	differ(func() map[string]*wire.Certificate { return m.Challenges }, s.challenges, after.challenges)
	for token, text := range after.tokens {
		if s.tokens[token] != text {
			m.Tokens[token] = text
			more()
		}
	}
	for token := range s.tokens {
		if _, ok := after.tokens[token]; !ok {
			m.Tokens[token] = ""
			more()
		}
	}
	l.Tell(wire.KindCertificates, m)
}

func same(a, b *wire.Certificate) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Key, b.Key) && slices.EqualFunc(a.Chain, b.Chain, bytes.Equal)
}
