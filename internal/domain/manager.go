package domain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/keyed"
	"github.com/gitd-io/gitd/internal/store"
	"golang.org/x/net/dns/dnsmessage"
)

// MaxPerApp is how many domains an app may have.
const MaxPerApp = 100

// Options configure a Manager.
type Options struct {
	Store    *store.Store
	Platform deploy.Platform
	Resolver Resolver
	Domain   string // apps answer under APP.Domain: names in it are given by gitd alone
	// Own returns the name under which the platform serves an app; "" where it is not known. nil: APP.Domain.
	Own       func(ctx context.Context, app string) string
	Addresses []netip.Addr // where this server is reached; none: it is found out
	Log       func(format string, args ...any)
}

// Manager decides which app has which domain, and tells the platform.
type Manager struct {
	o     Options
	locks keyed.Locks // by app: the platform is told of one change at a time
}

// New returns a Manager.
func New(o Options) *Manager { return &Manager{o: o} }

// Add asks for a domain for an app.
type Add struct {
	Name    string // as people write it
	NoCheck bool   // wherever the DNS leads
}

// Domain is a domain of an app.
type Domain struct {
	Name  string    `json:"name"`
	App   string    `json:"app"`
	Added time.Time `json:"added"`
	By    string    `json:"by"`
}

func domainOf(d store.Domain) Domain {
	return Domain{Name: d.Name, App: d.App, Added: d.Added, By: d.Key}
}

// Of returns the domains of an app by name.
func (m *Manager) Of(ctx context.Context, name string) ([]Domain, error) {
	all, err := m.o.Store.Domains(ctx, name)
	out := []Domain{}
	for _, d := range all {
		out = append(out, domainOf(d))
	}
	return out, err
}

// Add gives an app a domain, and routes it. The errors are *app.Error: CodeInvalidName for what is no name, or is the platform's; CodeExists where another app
// has it; CodeInvalidInput where the DNS leads elsewhere, with the record that is missing.
func (m *Manager) Add(ctx context.Context, by app.Caller, name string, in Add) (Domain, error) {
	domain, err := ParseName(in.Name)
	if err != nil {
		return Domain{}, err
	}
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return Domain{}, err
	}
	if a.Parent != "" {
		return Domain{}, app.Errorf(app.CodeInvalidInput, "give it to the app: gitd domains add "+a.Parent+" "+domain, "a preview has no domains of its own")
	}
	if err := m.notReserved(ctx, name, domain); err != nil {
		return Domain{}, err
	}
	add := store.AddDomain{Name: domain, Above: Ancestors(domain), Most: MaxPerApp}
	if err := m.free(ctx, a, &add); err != nil {
		return Domain{}, err
	}
	if !in.NoCheck {
		if err := m.pointsHere(ctx, domain, name); err != nil {
			return Domain{}, err
		}
	}
	from, err := m.o.Store.AddDomain(ctx, by, name, add)
	if errors.Is(err, store.ErrDomainTaken) {
		err = taken(a, domain)
	}
	if err != nil {
		return Domain{}, err
	}
	if from != "" && from != name {
		m.o.Log("domains: %s moves from %s to %s by %s", domain, from, name, by.Name())
		if err := m.Apply(ctx, from); err != nil {
			return Domain{}, err
		}
	}
	if err := m.Apply(ctx, name); err != nil {
		return Domain{}, err
	}
	return m.one(ctx, name, domain)
}

func (m *Manager) one(ctx context.Context, name, domain string) (Domain, error) {
	all, err := m.Of(ctx, name)
	if err != nil {
		return Domain{}, err
	}
	if i := slices.IndexFunc(all, func(d Domain) bool { return d.Name == domain }); i >= 0 {
		return all[i], nil
	}
	return Domain{}, app.Errorf(app.CodeNotFound, "see what it has: gitd domains "+name, "%s was removed meanwhile", domain)
}

// Remove takes a domain from an app.
func (m *Manager) Remove(ctx context.Context, by app.Caller, name, domain string) error {
	if parsed, err := ParseName(domain); err == nil {
		domain = parsed
	} else {
		return err
	}
	if err := m.o.Store.RemoveDomain(ctx, by, name, domain); err != nil {
		return err
	}
	return m.Apply(ctx, name)
}

// Apply has the platform route the domains that an app has now: none if it does not exist.
func (m *Manager) Apply(ctx context.Context, name string) error {
	defer m.locks.Lock(name)()
	all, err := m.o.Store.Domains(ctx, name)
	if err != nil {
		return err
	}
	var domains []deploy.Domain
	for _, d := range all {
		domains = append(domains, deploy.Domain{Name: d.Name})
	}
	return m.o.Platform.SetDomains(ctx, name, domains)
}

// Routes are the domains of all apps, by app, as SetDomains takes them.
func Routes(ctx context.Context, s *store.Store) (map[string][]deploy.Domain, error) {
	all, err := s.Domains(ctx, "")
	out := map[string][]deploy.Domain{}
	for _, d := range all {
		out[d.App] = append(out[d.App], deploy.Domain{Name: d.Name})
	}
	return out, err
}

// notReserved fails for the names that the platform gives itself.
func (m *Manager) notReserved(ctx context.Context, name, domain string) error {
	own := []string{m.o.Domain, "localhost", "cluster.local"}
	if m.o.Own != nil {
		if at := m.o.Own(ctx, name); at != "" {
			_, rest, _ := strings.Cut(at, ".")
			own = append(own, rest)
		}
	}
	bare := strings.TrimPrefix(domain, "*.")
	for _, d := range own {
		if under(bare, d) || bare != domain && strings.HasSuffix(d, "."+bare) {
			return app.Errorf(app.CodeInvalidName, "add a domain of your own; "+name+" has its name there from its first push on", "%s is one of the platform's own names", domain)
		}
	}
	return nil
}

// challenge is the label of the record that proves whose a domain is.
const challenge = "_gitd-challenge"

// proofOf is the text of the record with which the owner of a domain gives it to an app.
func proofOf(a app.App, domain string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "gitd domain\n%d\n%d\n%s\n%s", a.ID, a.Created.UnixMilli(), a.Name, domain))
	return "gitd=" + hex.EncodeToString(sum[:16])
}

// taken says how to get a domain that somebody else has, without who that is.
func taken(a app.App, domain string) error {
	bare := strings.TrimPrefix(domain, "*.")
	return app.Errorf(app.CodeExists, fmt.Sprintf("if the domain is yours, prove it: set %s.%s to TXT %q in its DNS, and give the same command again", challenge, bare, proofOf(a, domain)),
		"%s, or a domain above it, is of another app", domain)
}

// free fails where a domain is somebody else's, unless the DNS has the proof that it is to be the app's.
func (m *Manager) free(ctx context.Context, a app.App, add *store.AddDomain) error {
	all, err := m.o.Store.Domains(ctx, "")
	if err != nil {
		return err
	}
	others := slices.ContainsFunc(all, func(d store.Domain) bool {
		return d.App != a.Name && (d.Name == add.Name || slices.Contains(add.Above, d.Name))
	})
	if !others {
		return nil
	}
	found, err := m.o.Resolver.Query(ctx, challenge+"."+strings.TrimPrefix(add.Name, "*."), dnsmessage.TypeTXT)
	add.Proven = err == nil && slices.Contains(found.Of(dnsmessage.TypeTXT), proofOf(a, add.Name))
	return nil // the transaction decides: of the caller's own apps, one above needs no proof
}
