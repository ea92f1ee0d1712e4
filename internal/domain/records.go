package domain

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// Resolver asks the DNS: *dns.Client.
type Resolver interface {
	Query(ctx context.Context, name string, t dnsmessage.Type) (*dns.Answer, error)
}

// probe is the label that stands for any in a question about a wildcard.
const probe = "gitd-check"

// records are where a name leads.
type records struct {
	alias     string // the name that it stands for, the last of a chain; "" for none
	addresses []netip.Addr
	apex      bool // it is the top of a zone, which can be no alias
}

// lookup finds the addresses of a name, and for a name with advise also whether it can be an alias.
func lookup(ctx context.Context, r Resolver, name string, advise bool) (found records, err error) {
	asked := name
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		asked = probe + "." + rest
	}
	for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		a, err := r.Query(ctx, asked, t)
		if err != nil {
			return found, app.Errorf(app.CodeUnavailable, "try again; which resolver is asked says --dns-server of gitd serve; where you know better: --no-check", "the DNS cannot be asked for %s: %w", name, err)
		}
		for _, alias := range a.Of(dnsmessage.TypeCNAME) {
			found.alias = alias
		}
		for _, v := range a.Of(t) {
			if address, err := netip.ParseAddr(v); err == nil && !slices.Contains(found.addresses, address) {
				found.addresses = append(found.addresses, address)
			}
		}
	}
	if advise && asked == name {
		a, err := r.Query(ctx, name, dnsmessage.TypeNS)
		found.apex = err == nil && len(a.Of(dnsmessage.TypeNS)) > 0
	}
	return found, nil
}

// String says what there is: "CNAME x", "A 192.0.2.1 and AAAA 2001:db8::1", "nothing".
func (r records) String() string {
	if r.alias != "" && len(r.addresses) == 0 {
		return "CNAME " + app.Plain(r.alias) + ", which has no address"
	}
	text := listed(r.addresses)
	if r.alias != "" {
		return "CNAME " + app.Plain(r.alias) + ", which is " + text
	}
	return text
}

// listed names addresses as records.
func listed(addresses []netip.Addr) string {
	var all []string
	for _, a := range addresses {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		all = append(all, kind+" "+a.String())
		if len(all) == 4 {
			break
		}
	}
	switch len(all) {
	case 0:
		return "nothing"
	case 1:
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// here is where this server is reached, and a name that leads there.
type here struct {
	addresses []netip.Addr
	name      string // "" where none is known
}

// here finds out where requests to this server go: as it was told, else where the platform's own names lead, else the machine's addresses.
func (m *Manager) here(ctx context.Context, name string) here {
	target := name + "." + m.o.Domain
	if m.o.Own != nil {
		target = m.o.Own(ctx, name)
	}
	found, err := records{}, error(nil)
	if target != "" {
		found, err = lookup(ctx, m.o.Resolver, target, false)
	}
	h := here{addresses: m.o.Addresses}
	if err == nil && len(found.addresses) > 0 {
		h.name = target
		if len(h.addresses) == 0 {
			h.addresses = found.addresses
		}
	}
	if len(h.addresses) == 0 {
		h.addresses = machineAddresses()
	}
	return h
}

// machineAddresses are the machine's own that others can reach; where there is none, those that it reaches itself at.
func machineAddresses() []netip.Addr {
	var global, loopback []netip.Addr
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		address, ok := netip.AddrFromSlice(n.IP)
		switch address = address.Unmap(); {
		case !ok || address.IsLinkLocalUnicast():
		case address.IsLoopback():
			loopback = append(loopback, address)
		default:
			global = append(global, address)
		}
	}
	if len(global) > 0 {
		return global
	}
	return loopback
}

// pointsHere fails unless a name leads to this server, and to nothing else. What it says names the record that is missing.
func (m *Manager) pointsHere(ctx context.Context, name, appName string) error {
	found, err := lookup(ctx, m.o.Resolver, name, true)
	if err != nil {
		return err
	}
	h := m.here(ctx, appName)
	var wrong []netip.Addr
	for _, a := range found.addresses {
		if !slices.Contains(h.addresses, a) {
			wrong = append(wrong, a)
		}
	}
	if len(found.addresses) > 0 && len(wrong) == 0 {
		return nil
	}
	must := listed(h.addresses)
	if h.name != "" && !found.apex {
		must = "CNAME " + h.name + ", or " + must
	}
	next := fmt.Sprintf("in the DNS of the domain, set %s to %s; now it is %s; then the same command again (--no-check: without this check)", name, must, found)
	switch {
	case found.alias == "" && len(found.addresses) == 0:
		return app.Errorf(app.CodeInvalidInput, next, "%s is not in the DNS", name)
	case len(found.addresses) == 0:
		return app.Errorf(app.CodeInvalidInput, next, "%s leads to no address", name)
	case len(wrong) < len(found.addresses):
		return app.Errorf(app.CodeInvalidInput, fmt.Sprintf("in the DNS of the domain, remove %s of %s; then the same command again (--no-check: without this check)", listed(wrong), name),
			"some requests to %s go elsewhere: to %s", name, listed(wrong))
	}
	return app.Errorf(app.CodeInvalidInput, next, "%s points elsewhere: to %s", name, listed(wrong))
}
