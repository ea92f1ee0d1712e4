// Package dnstest is a resolver for tests: it knows what it was told, follows aliases, and asks other servers for the names that were delegated to them.
package dnstest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// Resolver answers at Address over UDP and TCP.
type Resolver struct {
	Address string

	mu        sync.Mutex
	records   map[string][]dns.Record // by name
	delegated map[string]string       // address of a server, by the top of what it answers for
	broken    bool
	cancel    context.CancelFunc
}

// Start starts a resolver that knows nothing.
func Start() (*Resolver, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		tcp.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Resolver{Address: tcp.Addr().String(), records: map[string][]dns.Record{}, delegated: map[string]string{}, cancel: cancel}
	go func() { _ = (&dns.Server{Answer: r.answer}).Serve(ctx, udp, tcp) }()
	return r, nil
}

// Close ends it.
func (r *Resolver) Close() { r.cancel() }

// Set says what a name has: "A 192.0.2.1", "CNAME other.example", "TXT text", "NS name", "CAA issue ca.example". Nothing removes the name. "*.x" stands for all below x.
func (r *Resolver) Set(name string, records ...string) error {
	var all []dns.Record
	for _, s := range records {
		kind, value, _ := strings.Cut(s, " ")
		t, ok := map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "TXT": dnsmessage.TypeTXT, "NS": dnsmessage.TypeNS, "CAA": dns.TypeCAA}[kind]
		if !ok {
			return fmt.Errorf("%q is not a record", s)
		}
		if t == dns.TypeCAA {
			tag, of, _ := strings.Cut(value, " ")
			value = "\x00" + string(rune(len(tag))) + tag + of
		}
		all = append(all, dns.Record{Name: name, Type: t, Value: value})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[name] = all
	if len(all) == 0 {
		delete(r.records, name)
	}
	return nil
}

// Delegate has a name, and those below it, asked from another server.
func (r *Resolver) Delegate(name, server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delegated[name] = server
}

// Break has every question fail from now on, or no more.
func (r *Resolver) Break(broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = broken
}

func (r *Resolver) answer(name string, t dnsmessage.Type) dns.Reply {
	out := dns.Reply{Recursions: true, RCode: dnsmessage.RCodeNameError}
	for range 8 {
		records, server, broken := r.find(name)
		if broken {
			return dns.Reply{RCode: dnsmessage.RCodeServerFailure}
		}
		if server != "" {
			a, err := (&dns.Client{Server: server}).Query(context.Background(), name, t)
			if err != nil {
				return dns.Reply{RCode: dnsmessage.RCodeServerFailure}
			}
			if !a.NotFound {
				out.RCode = dnsmessage.RCodeSuccess
			}
			out.Answers = append(out.Answers, a.Records...)
			return out
		}
		if records == nil {
			return out
		}
		out.RCode = dnsmessage.RCodeSuccess
		alias := ""
		for _, rec := range records {
			rec.Name = name
			if rec.Type == t || rec.Type == dnsmessage.TypeCNAME {
				out.Answers = append(out.Answers, rec)
			}
			if rec.Type == dnsmessage.TypeCNAME && t != rec.Type {
				alias = rec.Value
			}
		}
		if alias == "" {
			return out
		}
		name = alias
	}
	return out
}

func (r *Resolver) find(name string) (records []dns.Record, server string, broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for top, s := range r.delegated {
		if name == top || strings.HasSuffix(name, "."+top) {
			return nil, s, r.broken
		}
	}
	if all, ok := r.records[name]; ok {
		return all, "", r.broken
	}
	for rest := name; ; {
		_, up, ok := strings.Cut(rest, ".")
		if !ok {
			return nil, "", r.broken
		}
		if all, ok := r.records["*."+up]; ok {
			return all, "", r.broken
		}
		rest = up
	}
}
