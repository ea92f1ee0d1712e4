package domain

import (
	"context"
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/dns"
	"github.com/gitd-io/gitd/internal/dns/dnstest"
	"github.com/gitd-io/gitd/internal/store"
	"golang.org/x/net/dns/dnsmessage"
)

// fakePlatform keeps the domains that it is told.
type fakePlatform struct {
	deploy.Platform
	mu      sync.Mutex
	domains map[string][]deploy.Domain
	lacks   deploy.Ability
}

func (p *fakePlatform) Can(a deploy.Ability) bool { return a != p.lacks }

func (p *fakePlatform) SetDomains(_ context.Context, service string, domains []deploy.Domain) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.domains[service] = domains
	return nil
}

// fakeIssuer notes what is wanted.
type fakeIssuer struct {
	mu    sync.Mutex
	names []string
	lists [][]string // all of them
}

func (i *fakeIssuer) Want(names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.names = names
	i.lists = append(i.lists, names)
}
func (i *fakeIssuer) Again(string) {}
func (i *fakeIssuer) wanted() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Sorted(slices.Values(i.names))
}

// bench is a Manager with what it works on.
type bench struct {
	*Manager
	platform *fakePlatform
	issuer   *fakeIssuer
	dns      *dnstest.Resolver
	now      time.Time
	served   Served
	ca       *certificate.Authority
}

func open(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, a := range [][2]string{{"shop", "ada"}, {"blog", "ada"}, {"wiki", "eve"}} {
		if _, err := s.CreateApp(t.Context(), a[0], a[1]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	b := &bench{platform: &fakePlatform{domains: map[string][]deploy.Domain{}}, issuer: &fakeIssuer{}, dns: r, now: time.Now()}
	if b.ca, err = certificate.OpenAuthority(t.TempDir(), func() time.Time { return b.now }); err != nil {
		t.Fatal(err)
	}
	o := Options{Store: s, Platform: b.platform, Resolver: &dns.Client{Server: r.Address}, Domain: "apps.test", Log: t.Logf, Folder: certificate.Folder(filepath.Join(t.TempDir(), "c")),
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Publish: func(s Served) { b.served = s }, Issuer: b.issuer, Now: func() time.Time { return b.now }}
	if change != nil {
		change(&o)
	}
	b.Manager = New(o)
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) mustAdd(t *testing.T, name, domain string) {
	t.Helper()
	if _, err := b.Add(t.Context(), app.Root, name, Add{Name: domain, NoCheck: true}); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) issued(t *testing.T, names ...string) *certificate.Pair {
	t.Helper()
	p, err := b.ca.Issue(names...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A name that the platform cannot serve is refused, and belongs to no app.
func TestManager_NoWildcards(t *testing.T) {
	b := open(t, nil)
	b.platform.lacks = deploy.WildcardDomains
	_, err := b.Add(t.Context(), app.Root, "shop", Add{Name: "*.ada.example", NoCheck: true})
	if app.CodeOf(err) != app.CodeInvalidInput {
		t.Error(err)
	}
	if all, err := b.Of(t.Context(), "shop"); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// A name is one app's. Who controls its DNS can take it, with its certificate gone; of one owner's apps, one above needs no proof.
func TestManager_Owners(t *testing.T) {
	b := open(t, nil)
	b.mustAdd(t, "shop", "ada.example")
	b.Obtained("ada.example", b.issued(t, "ada.example"))
	b.mustAdd(t, "blog", "blog.ada.example")
	for _, name := range []string{"ada.example", "x.ada.example", "*.ada.example", "blog.ada.example"} {
		_, err := b.Add(t.Context(), app.Root, "wiki", Add{Name: name, NoCheck: true})
		if app.CodeOf(err) != app.CodeExists || strings.Contains(err.Error(), "shop") || strings.Contains(err.Error(), "blog is") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := b.Add(t.Context(), app.Root, "wiki", Add{Name: "ada.example", NoCheck: true})
	_, next := app.Explain(err)
	_, text, _ := strings.Cut(next, `"`)
	text, _, _ = strings.Cut(text, `"`)
	if err := b.dns.Set("_gitd-challenge.ada.example", "TXT "+text); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(t.Context(), app.Root, "blog", Add{Name: "ada.example", NoCheck: true}); app.CodeOf(err) != app.CodeExists {
		t.Errorf("another app takes it by that proof: %v", err)
	}
	b.mustAdd(t, "wiki", "ada.example")
	if d := b.platform.domains; len(d["shop"]) != 0 || len(d["wiki"]) != 1 || b.served.Certificates["ada.example"] != nil {
		t.Errorf("%+v, %v", d, b.served.Certificates)
	}
	if err := b.Forget(t.Context(), "wiki"); err != nil || len(b.platform.domains["wiki"]) != 0 {
		t.Errorf("%v, %v", b.platform.domains, err)
	}
}

// A store whose disk is full changes nothing for what is served.
func TestManager_CertificateThatCannotBeKept(t *testing.T) {
	b := open(t, nil)
	b.mustAdd(t, "shop", "ada.example")
	first := b.issued(t, "ada.example")
	b.Obtained("ada.example", first)
	file := string(b.o.Folder)
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil { // no folder can be made there: as on a full disk
		t.Fatal(err)
	}
	b.Tried("ada.example", Attempt{Failed: "no space left on device", Next: b.now.Add(time.Hour)})
	list, err := b.Of(t.Context(), "shop")
	if c := list[0].Certificate; err != nil || c.State != CertificateValid || c.Error != "no space left on device" || b.served.Certificates["ada.example"].Leaf != first.Leaf {
		t.Errorf("%+v, %v", c, err)
	}
	second := b.issued(t, "ada.example")
	b.Obtained("ada.example", second)
	if b.served.Certificates["ada.example"].Leaf != second.Leaf {
		t.Error("one that cannot be kept is not served")
	}
	if _, err := b.Add(t.Context(), app.Root, "shop", Add{Name: "ada.example", NoCheck: true, Certificate: first}); app.CodeOf(err) != app.CodeUnavailable {
		t.Errorf("one that is given: %v", err)
	}
}

// What is wanted follows the domains; a clock that goes back or forth changes what is told, not what is served.
func TestManager_Wanted(t *testing.T) {
	b := open(t, func(o *Options) { o.Proven = func(name string) bool { return strings.HasPrefix(name, "*.") } })
	b.mustAdd(t, "shop", "ada.example")
	b.mustAdd(t, "shop", "*.ada.example")
	wild := b.issued(t, "*.wild.example")
	if _, err := b.Add(t.Context(), app.Root, "shop", Add{Name: "*.wild.example", NoCheck: true, Certificate: wild}); err != nil {
		t.Fatal(err)
	}
	b.mustAdd(t, "shop", "a.wild.example")
	b.Demand("shop.apps.test")
	b.Demand("broker.apps.test") // brokers take events there
	b.Demand("nobody.apps.test")
	b.Demand("ada.example")
	for range 100 {
		if len(b.issuer.wanted()) == 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := b.issuer.wanted(); !slices.Equal(got, []string{"ada.example", "broker.apps.test", "shop.apps.test"}) {
		t.Errorf("wanted: %q", got)
	}
	b.Obtained("ada.example", b.issued(t, "ada.example"))
	b.Obtained("other.example", b.issued(t, "other.example"))
	states := func() string {
		t.Helper()
		list, err := b.Of(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, d := range list {
			all = append(all, d.Name+" "+d.Certificate.State)
		}
		return strings.Join(all, ", ")
	}
	if got := states(); got != "*.ada.example failed, *.wild.example valid, a.wild.example valid, ada.example valid" || len(b.served.Certificates) != 2 {
		t.Errorf("%s; %v", got, b.served.Certificates)
	}
	b.now = b.now.AddDate(1, 0, 0)
	if got := states(); !strings.Contains(got, "ada.example expired") {
		t.Error(got)
	}
	b.now = b.now.AddDate(-3, 0, 0)
	if got := states(); !strings.HasSuffix(got, ", ada.example valid") || len(b.served.Certificates) != 2 {
		t.Error(got)
	}
	if err := b.Remove(t.Context(), app.Root, "shop", "Ada.Example."); err != nil {
		t.Fatal(err)
	}
	if got := b.issuer.wanted(); !slices.Equal(got, []string{"broker.apps.test", "shop.apps.test"}) || b.served.Certificates["ada.example"] != nil {
		t.Errorf("wanted: %q", got)
	}
	if all, err := b.o.Folder.Load(t.Logf); err != nil || all["ada.example"] != nil || all["*.wild.example"] == nil {
		t.Errorf("%v, %v", all, err)
	}
}

// A handshake waits for a certificate that may come, and not for one whose last attempt failed.
func TestManager_Hope(t *testing.T) {
	for _, tt := range []struct {
		of     string
		change func(*Options)
	}{{"shop.apps.test", nil}, {"*.apps.test", func(o *Options) { o.Wildcard = true }}} {
		b := open(t, tt.change)
		hope := func(when string, want bool) {
			t.Helper()
			if got := b.Demand("shop.apps.test"); got != want {
				t.Errorf("%s, %s: %t", tt.of, when, got)
			}
		}
		hope("at first", true)
		for end := time.Now().Add(time.Minute); !slices.Contains(b.issuer.wanted(), tt.of) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		hope("while it is wanted", true)
		b.Tried(tt.of, Attempt{Failed: "the authority is down", Next: b.now.Add(time.Hour)})
		hope("after a failure", false)
		b.Tried(tt.of, Attempt{})
		hope("in the next attempt", true)
	}
	if open(t, func(o *Options) { o.Issuer = nil }).Demand("shop.apps.test") {
		t.Error("without an issuer")
	}
}

// Certificates that are given must be for the name, and good now.
func TestManager_GivenCertificates(t *testing.T) {
	b := open(t, nil)
	p := b.issued(t, "ada.example")
	add := func(name string) error {
		_, err := b.Add(t.Context(), app.Root, "shop", Add{Name: name, NoCheck: true, Certificate: p})
		return err
	}
	if err := add("x.ada.example"); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "not for x.ada.example, but for ada.example") {
		t.Error(err)
	}
	b.now = b.now.AddDate(-1, 0, 0)
	if err := add("ada.example"); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "is good from") {
		t.Errorf("the clock is behind: %v", err)
	}
	b.now = b.now.AddDate(2, 0, 0)
	if err := add("ada.example"); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "has expired") {
		t.Error(err)
	}
	if list, err := b.Of(t.Context(), "shop"); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for i := range MaxPerApp {
		b.mustAdd(t, "wiki", "d"+strings.Repeat("x", i%50)+strings.Repeat("y", i/50)+".example")
	}
	if _, err := b.Add(t.Context(), app.Root, "wiki", Add{Name: "more.example", NoCheck: true}); app.CodeOf(err) != app.CodeLimitExceeded {
		t.Error(err)
	}
}

// Challenges are answered while they are there.
func TestManager_Challenges(t *testing.T) {
	b := open(t, nil)
	b.Challenge("a.example", "token", "text", nil)
	b.Challenge("a.example", "", "", &tls.Certificate{})
	if b.served.Tokens["token"] != "text" || b.served.Challenges["a.example"] == nil {
		t.Errorf("%+v", b.served)
	}
	b.Challenge("a.example", "token", "", nil)
	b.Challenge("a.example", "", "", nil)
	if len(b.served.Tokens)+len(b.served.Challenges) != 0 {
		t.Errorf("%+v", b.served)
	}
	b.Proof("_acme-challenge.apps.test", "one", false)
	b.Proof("_acme-challenge.apps.test", "two", false)
	b.Proof("_acme-challenge.ada.example", "three", false)
	for _, q := range []struct {
		name string
		t    dnsmessage.Type
		want []string
	}{
		{"_acme-challenge.apps.test", dnsmessage.TypeTXT, []string{"one", "two"}}, {"_acme-challenge.apps.test", dnsmessage.TypeNS, []string{"gitd.apps.test"}},
		{"_acme-challenge.apps.test", dnsmessage.TypeA, nil}, {"ada.example._acme-challenge.apps.test", dnsmessage.TypeTXT, []string{"three"}},
		{"_acme-challenge.ada.example", dnsmessage.TypeTXT, []string{"three"}}, {"_acme-challenge.nobody.example", dnsmessage.TypeTXT, nil},
	} {
		r := b.Answer(q.name, q.t)
		var got []string
		for _, a := range r.Answers {
			got = append(got, a.Value)
		}
		if r.RCode != 0 || !r.Own || !slices.Equal(got, q.want) || (len(got) == 0) != (len(r.Authority) == 1) {
			t.Errorf("%s %s: %+v", q.name, q.t, r)
		}
	}
	for _, name := range []string{"apps.test", "ada.example", "x_acme-challenge.apps.test", ""} {
		if r := b.Answer(name, dnsmessage.TypeTXT); r.RCode != dnsmessage.RCodeRefused {
			t.Errorf("%s: %+v", name, r)
		}
	}
	b.Proof("_acme-challenge.apps.test", "one", true)
	if r := b.Answer("_acme-challenge.apps.test", dnsmessage.TypeTXT); len(r.Answers) != 1 {
		t.Errorf("%+v", r)
	}
}
