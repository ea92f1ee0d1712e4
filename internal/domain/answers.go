package domain

import (
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// proofLabel is the label of the records that prove a name to those who issue certificates: RFC 8555, 8.4.
const proofLabel = "_acme-challenge"

// Proof has a record of the DNS answered, which proves a name to those who issue certificates, until it is taken back. record is its name.
func (m *Manager) Proof(record, text string, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record = strings.ToLower(record)
	texts := slices.DeleteFunc(slices.Clone(m.proofs[record]), func(s string) bool { return s == text })
	if !end {
		texts = append(texts, text)
	}
	m.proofs[record] = texts
	if len(texts) == 0 {
		delete(m.proofs, record)
	}
}

// Answer is what the server says in the DNS. It is asked for the records with which names are proven: for _acme-challenge.DOMAIN, and what is below it, where that
// name was delegated to it (NS); so it is for _acme-challenge.NAME of a domain, whose record may as well be an alias (CNAME) of NAME._acme-challenge.DOMAIN. For
// anything else it is not the one to ask.
func (m *Manager) Answer(name string, t dnsmessage.Type) dns.Reply {
	zone, record := proofLabel+"."+m.o.Domain, name
	switch rest, below := strings.CutSuffix(name, "."+zone); {
	case below:
		record = proofLabel + "." + rest
	case name == zone:
	case strings.HasPrefix(name, proofLabel+"."):
		zone = name
	default:
		return dns.Reply{RCode: dnsmessage.RCodeRefused}
	}
	own := "gitd." + m.o.Domain
	r := dns.Reply{Own: true}
	m.mu.Lock()
	texts := m.proofs[record]
	m.mu.Unlock()
	switch {
	case t == dnsmessage.TypeTXT || t == dnsmessage.TypeALL:
		for _, text := range texts {
			r.Answers = append(r.Answers, dns.Record{Name: name, Type: dnsmessage.TypeTXT, Value: text})
		}
	case name == zone && t == dnsmessage.TypeNS:
		r.Answers = []dns.Record{{Name: name, Type: t, Value: own}}
	case name == zone && t == dnsmessage.TypeSOA:
		r.Answers = []dns.Record{{Name: name, Type: t, Value: own}}
	}
	if len(r.Answers) == 0 {
		r.Authority = []dns.Record{{Name: zone, Type: dnsmessage.TypeSOA, Value: own}}
	}
	return r
}
