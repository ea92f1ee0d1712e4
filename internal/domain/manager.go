package domain

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
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

	Folder   certificate.Folder // where certificates are kept
	Publish  func(Served)       // has them served; nil where the platform serves HTTPS itself, and is told with the domains
	Issuer   Issuer             // nil: certificates are given as files alone
	Records  bool               // names can be proven by records of the DNS: Answer is asked
	Proven   func(string) bool  // whether a name is proven by records of the DNS alone; nil: no name is
	Wildcard bool               // the issuer can have one for *.Domain: no other is needed for the platform's own names
	Now      func() time.Time
}

// Manager decides which app has which domain, and tells the platform.
type Manager struct {
	o     Options
	locks keyed.Locks // by app: the platform is told of one change at a time

	refreshing sync.Mutex // held from when the ledger is read until that is applied; before mu

	mu      sync.Mutex // mu guards the following
	c       certificates
	demands int
	proofs  map[string][]string // texts of the DNS, by the name of the record
}

// New returns a Manager.
func New(o Options) *Manager {
	return &Manager{o: o, proofs: map[string][]string{}, c: certificates{pairs: map[string]*certificate.Pair{}, attempts: map[string]Attempt{}, demanded: map[string]bool{},
		challenges: map[string]*tls.Certificate{}, tokens: map[string]string{}, changed: make(chan struct{})}}
}

// Add asks for a domain for an app.
type Add struct {
	Name    string // as people write it
	NoCheck bool   // wherever the DNS leads
	// Certificate is one to use instead of obtaining one; nil for none.
	Certificate *certificate.Pair
}

// Domain is a domain of an app.
type Domain struct {
	Name  string    `json:"name"`
	App   string    `json:"app"`
	Added time.Time `json:"added"`
	By    string    `json:"by"`
	// Certificate is its certificate for HTTPS.
	Certificate Certificate `json:"certificate"`
}

// Of returns the domains of an app by name.
func (m *Manager) Of(ctx context.Context, name string) ([]Domain, error) {
	all, err := m.o.Store.Domains(ctx, name)
	out := []Domain{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range all {
		out = append(out, Domain{Name: d.Name, App: d.App, Added: d.Added, By: d.Key, Certificate: m.certificateOf(d)})
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
	if strings.HasPrefix(domain, "*.") && !m.o.Platform.Can(deploy.WildcardDomains) {
		return Domain{}, app.Errorf(app.CodeInvalidInput, "add each name by itself", "%s cannot be served: a cluster has no domains with *", domain)
	}
	if err := m.fits(in.Certificate, domain); err != nil {
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
	add := store.AddDomain{Name: domain, Above: Ancestors(domain), Most: MaxPerApp, File: in.Certificate != nil}
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
		m.forget(domain)
		if err := m.Apply(ctx, from); err != nil {
			return Domain{}, err
		}
	}
	if err := m.use(domain, in.Certificate); err != nil {
		return Domain{}, err
	}
	if err := m.refresh(ctx); err != nil {
		return Domain{}, err
	}
	if err := m.Apply(ctx, name); err != nil {
		return Domain{}, err
	}
	return m.one(ctx, name, domain)
}

// Settle waits until a domain of an app has its certificate, or an attempt for one has failed, and returns how it stands.
func (m *Manager) Settle(ctx context.Context, name, domain string) (Domain, error) {
	m.settled(ctx, domain)
	return m.one(ctx, name, domain)
}

// fits fails where a certificate that was given is of no use for a name. nil fits.
func (m *Manager) fits(p *certificate.Pair, name string) error {
	switch now := m.o.Now(); {
	case p == nil:
	case !p.Covers(name):
		return app.Errorf(app.CodeInvalidInput, "give the certificate of that name first, then its chain", "the certificate is not for %s, but for %s", name, app.Clip(app.Plain(strings.Join(p.Leaf.DNSNames, ", ")), 200))
	case now.After(p.Leaf.NotAfter):
		return app.Errorf(app.CodeInvalidInput, "give one that has not expired", "the certificate has expired: it was good until %s", p.Leaf.NotAfter.UTC().Format(time.DateTime))
	case now.Before(p.Leaf.NotBefore):
		return app.Errorf(app.CodeInvalidInput, "wait, or look at the clock of the server: date -u", "the certificate is good from %s on, and now it is %s", p.Leaf.NotBefore.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
	return nil
}

// use keeps a certificate that was given, and serves it. nil is none.
func (m *Manager) use(domain string, p *certificate.Pair) error {
	if p == nil {
		return nil
	}
	m.mu.Lock()
	m.c.pairs[domain] = p
	m.mu.Unlock()
	if err := m.o.Folder.Save(domain, p); err != nil {
		return app.Errorf(app.CodeUnavailable, "make room, and give the same command again", "%s is added, but its certificate cannot be kept: %w", domain, err)
	}
	return nil
}

// forget drops the certificates of names, which are wanted again from the next refresh on at the earliest: only so does the issuer give one that it gave before.
func (m *Manager) forget(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		delete(m.c.pairs, name)
		delete(m.c.attempts, name)
		delete(m.c.demanded, name)
		if err := m.o.Folder.Remove(name); err != nil {
			m.o.Log("certificates: %v", err)
		}
	}
	m.c.wanted = slices.DeleteFunc(m.c.wanted, func(w string) bool { return slices.Contains(names, w) })
	m.publish()
	m.want()
}

// Check looks at a domain of an app again: at the DNS, and, where its certificate could not be obtained, it has that tried again at once.
func (m *Manager) Check(ctx context.Context, name, domain string) (Domain, error) {
	domain, err := ParseName(domain)
	if err != nil {
		return Domain{}, err
	}
	if _, err := m.one(ctx, name, domain); err != nil {
		return Domain{}, err
	}
	if err := m.pointsHere(ctx, domain, name); err != nil {
		return Domain{}, err
	}
	m.mu.Lock()
	failed := m.c.attempts[domain].Failed != ""
	if failed {
		m.c.attempts[domain] = Attempt{}
	}
	m.mu.Unlock()
	if m.o.Issuer != nil {
		m.o.Issuer.Again(domain) // a certificate that is there may have been revoked
	}
	return m.Settle(ctx, name, domain)
}

// Forget drops what there is of the domains of an app that goes. Forgotten is called when the ledger has let go of it.
func (m *Manager) Forget(ctx context.Context, name string) error {
	if err := m.o.Platform.SetDomains(ctx, name, nil); err != nil {
		return err
	}
	all, err := m.o.Store.Domains(ctx, name)
	if err != nil {
		return err
	}
	names := []string{name + "." + m.o.Domain}
	for _, d := range all {
		names = append(names, d.Name)
	}
	m.forget(names...)
	return nil
}

// Forgotten ends what still went by an app after Forget: until the ledger lets go of it, its names may be wanted again.
func (m *Manager) Forgotten(ctx context.Context) {
	if err := m.refresh(ctx); err != nil {
		m.o.Log("certificates: %v", err)
	}
}

func (m *Manager) one(ctx context.Context, name, domain string) (Domain, error) {
	all, err := m.Of(ctx, name)
	if err != nil {
		return Domain{}, err
	}
	if i := slices.IndexFunc(all, func(d Domain) bool { return d.Name == domain }); i >= 0 {
		return all[i], nil
	}
	return Domain{}, app.Errorf(app.CodeNotFound, "see what it has: gitd domains "+name, "%s does not have the domain %s", name, domain)
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
	if err := m.refresh(ctx); err != nil {
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
		one := deploy.Domain{Name: d.Name}
		m.mu.Lock()
		if p := m.c.pairs[d.Name]; p != nil && m.o.Publish == nil {
			one.Chain, one.Key = p.Chain, p.Key
		}
		m.mu.Unlock()
		domains = append(domains, one)
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

// taken says how to get a domain that another app has, without naming it.
func taken(a app.App, domain string) error {
	bare := strings.TrimPrefix(domain, "*.")
	return app.Errorf(app.CodeExists, fmt.Sprintf("if the domain is yours, prove it: set %s.%s to TXT %q in its DNS, and give the same command again", challenge, bare, proofOf(a, domain)),
		"%s, or a domain above it, is of another app", domain)
}

// free fails where a domain is another app's, unless the DNS has the proof that it is to be the app's.
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
