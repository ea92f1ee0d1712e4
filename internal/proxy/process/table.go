package process

import (
	"crypto/tls"
	"crypto/x509"
	"maps"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// setRoutes changes the table.
func (p *Process) setRoutes(m *wire.Routes) error {
	if p.routes == nil {
		p.routes, p.named = map[string]*wire.Route{}, map[string][]wire.Target{}
	}
	for host, route := range m.Hosts {
		if route == nil {
			delete(p.routes, host)
		} else {
			p.routes[host] = route
		}
	}
	for name, split := range m.Named {
		if len(split) == 0 {
			delete(p.named, name)
		} else {
			p.named[name] = split
		}
	}
	if !m.More && p.whole == nil {
		p.publish()
	}
	return nil
}

// publish has the plane route by the table.
func (p *Process) publish() {
	t := &dataplane.Table{Stopped: map[string]string{}, Hosts: make(map[string]dataplane.Split, len(p.routes)), Sticky: map[string]bool{}, Maintenance: map[string]*dataplane.Maintenance{}, Named: make(map[string]dataplane.Split, len(p.named))}
	held := map[wire.Maintenance]*dataplane.Maintenance{}
	for host, r := range p.routes {
		t.Hosts[host] = p.split(r.Split)
		if r.Stopped != "" {
			t.Stopped[host] = r.Stopped
		}
		if r.Sticky {
			t.Sticky[host] = true
		}
		if r.Maintenance != nil {
			m := held[*r.Maintenance]
			if m == nil {
				m = p.holding[*r.Maintenance]
			}
			if m == nil {
				m = dataplane.NewMaintenance(r.Maintenance.App, r.Maintenance.Hold)
			}
			held[*r.Maintenance] = m
			t.Maintenance[host] = m
		}
	}
	for name, split := range p.named {
		t.Named[name] = p.split(split)
	}
	for _, plane := range p.planes {
		plane.Publish(t)
	}
	before := p.holding
	p.holding = held
	for m, ended := range before {
		if held[m] == nil {
			ended.End()
		}
	}
}

func (p *Process) split(targets []wire.Target) dataplane.Split {
	split := make(dataplane.Split, 0, len(targets))
	for _, t := range targets {
		if r := p.revisions[t.Key]; r != nil {
			split = append(split, dataplane.Target{Revision: r.Revision, Percent: t.Percent})
		}
	}
	return split
}

// certificates are what is presented over TLS, as it was told.
type certificates struct {
	byName, challenges map[string]*tls.Certificate
	tokens             map[string]string
}

func (c *certificates) begin() {
	*c = certificates{map[string]*tls.Certificate{}, map[string]*tls.Certificate{}, map[string]string{}}
}

// setCertificates changes the certificates. One that cannot be read is left out.
func (p *Process) setCertificates(m *wire.Certificates) error {
	if p.certs.byName == nil {
		p.certs.begin()
	}
	p.change(p.certs.byName, m.ByName)
	p.change(p.certs.challenges, m.Challenges)
	for token, text := range m.Tokens {
		if text == "" {
			delete(p.certs.tokens, token)
		} else {
			p.certs.tokens[token] = text
		}
	}
	if !m.More && p.whole == nil {
		p.publishCertificates(p.plane.Load())
	}
	return nil
}

func (p *Process) change(all map[string]*tls.Certificate, told map[string]*wire.Certificate) {
	for name, c := range told {
		if c == nil {
			delete(all, name)
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(c.Key)
		if err != nil {
			p.o.Log("proxy: the key of the certificate for %s cannot be read: %v", name, err)
			continue
		}
		made := &tls.Certificate{Certificate: c.Chain, PrivateKey: key}
		if len(c.Chain) > 0 {
			made.Leaf, _ = x509.ParseCertificate(c.Chain[0])
		}
		all[name] = made
	}
}

func (p *Process) publishCertificates(plane *dataplane.Plane) {
	if p.setup.Secure == nil {
		return
	}
	plane.PublishCertificates(&dataplane.Certificates{ByName: maps.Clone(p.certs.byName), Challenges: maps.Clone(p.certs.challenges), Tokens: maps.Clone(p.certs.tokens)})
}
