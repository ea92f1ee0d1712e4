package domain

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/store"
)

// Issuer obtains certificates and renews them in time: an authority of one's own, or one that speaks ACME.
type Issuer interface {
	// Want says for which names there should be certificates, all of them each time. It does not wait. One that was left out and comes back has been forgotten:
	// its certificate is given again.
	Want(names []string)
	// Again tries at once what failed and waits for its next time.
	Again(name string)
}

// Served is what is presented over TLS and answered to those who issue certificates. Maps are not changed after they were handed over.
type Served struct {
	Certificates, Challenges map[string]*tls.Certificate // by name
	Tokens                   map[string]string           // of http-01
}

// Attempt is how it goes with a certificate that is not there, or is to be renewed.
type Attempt struct {
	Failed string    // why the last attempt failed, in words; "" while there was none, or one is under way
	Next   time.Time // the next one; the zero time where it is not known
}

// The states of a certificate.
const (
	CertificateNone      = "none"      // there is none, and none is being obtained
	CertificateObtaining = "obtaining" // the first one
	CertificateFailed    = "failed"    // there is none: Error says why, and Next when it is tried again
	CertificateValid     = "valid"
	CertificateExpired   = "expired"
)

// Certificate is the certificate of a domain.
type Certificate struct {
	State   string     `json:"state"` // none, obtaining, failed, valid, expired
	Issuer  string     `json:"issuer,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	File    bool       `json:"file,omitempty"`  // it was given as a file, and is not renewed
	Error   string     `json:"error,omitempty"` // why it could not be obtained or renewed the last time
	Next    *time.Time `json:"next,omitempty"`  // when that is tried again
}

// certificates is what a Manager knows of certificates. It is guarded by the Manager's mu.
type certificates struct {
	pairs      map[string]*certificate.Pair
	attempts   map[string]Attempt // of names that are wanted
	wanted     []string
	demanded   map[string]bool // names of the platform's that clients have asked for
	challenges map[string]*tls.Certificate
	tokens     map[string]string
	changed    chan struct{} // closed and replaced at each change
}

// Load reads the certificates that are kept, and has them served. It is called once, before the first request.
func (m *Manager) Load(ctx context.Context) error {
	pairs, err := m.o.Folder.Load(m.o.Log)
	if err != nil {
		m.o.Log("certificates: %v", err)
	}
	m.mu.Lock()
	m.c.pairs = pairs
	m.mu.Unlock()
	return m.refresh(ctx)
}

// refresh goes by the domains that there are now: certificates of others are forgotten, and those that are missing are wanted.
func (m *Manager) refresh(ctx context.Context) error {
	m.refreshing.Lock() // an older reading of the ledger must not undo a newer one
	defer m.refreshing.Unlock()
	all, err := m.o.Store.Domains(ctx, "")
	if err != nil {
		return err
	}
	apps, err := m.o.Store.Apps(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, wanted := m.names(all, apps)
	for name := range m.c.pairs {
		if known[name] {
			continue
		}
		delete(m.c.pairs, name)
		if err := m.o.Folder.Remove(name); err != nil {
			m.o.Log("certificates: %v", err)
		}
	}
	maps.DeleteFunc(m.c.demanded, func(name string, _ bool) bool { return !known[name] })
	maps.DeleteFunc(m.c.attempts, func(name string, a Attempt) bool {
		return !slices.Contains(wanted, name) && (a.Failed != noRecords || !known[name])
	})
	m.c.wanted = wanted
	m.publish()
	m.want()
	return nil
}

// want tells the issuer what is wanted. The caller holds mu, so that what is told last is what holds.
func (m *Manager) want() {
	if m.o.Issuer != nil {
		m.o.Issuer.Want(slices.Clone(m.c.wanted))
	}
}

// names are those that may have a certificate, and those that one is to be obtained for.
func (m *Manager) names(all []store.Domain, apps []app.App) (known map[string]bool, wanted []string) {
	known = map[string]bool{}
	files := map[string]string{} // apps by the names with *, whose certificates were given
	for _, d := range all {
		known[d.Name] = true
		if d.File {
			files[d.Name] = d.App
		}
	}
	for _, d := range all {
		_, up, _ := strings.Cut(d.Name, ".")
		switch {
		case d.File, files["*."+up] == d.App:
		case m.needsRecords(d.Name) && !m.o.Records:
			m.c.attempts[d.Name] = Attempt{Failed: noRecords}
		default:
			wanted = append(wanted, d.Name)
		}
	}
	if m.o.Issuer == nil || m.o.Publish == nil {
		return known, wanted
	}
	if wildcard := "*." + m.o.Domain; m.o.Wildcard {
		known[wildcard] = true
		return known, append(wanted, wildcard)
	}
	for _, a := range append(apps, app.App{Name: app.Brokers}) {
		name := a.Name + "." + m.o.Domain
		known[name] = true
		if m.c.pairs[name] != nil || m.c.demanded[name] {
			wanted = append(wanted, name)
		}
	}
	return known, wanted
}

// noRecords is why a name that is proven by the DNS alone gets no certificate.
const noRecords = "it takes a record in the DNS that the server answers itself: gitd serve --dns"

// needsRecords says whether a certificate for a name takes a record of the DNS.
func (m *Manager) needsRecords(name string) bool {
	return m.o.Proven != nil && m.o.Proven(name)
}

// publish hands over what is served. The caller holds mu.
func (m *Manager) publish() {
	close(m.c.changed)
	m.c.changed = make(chan struct{})
	if m.o.Publish == nil {
		return
	}
	s := Served{Certificates: map[string]*tls.Certificate{}, Challenges: maps.Clone(m.c.challenges), Tokens: maps.Clone(m.c.tokens)}
	for name, p := range m.c.pairs {
		s.Certificates[name] = p.TLS
	}
	m.o.Publish(s)
}

// Demand has a certificate obtained for a name of the platform's own, where there is such an app. It does not wait. It returns whether one may come soon: not
// where the last attempt has failed and the next is not under way, and not where nothing obtains any.
func (m *Manager) Demand(name string) bool {
	m.mu.Lock()
	of := name
	if m.o.Wildcard && under(name, m.o.Domain) {
		of = "*." + m.o.Domain
	}
	hope := m.o.Issuer != nil && m.c.attempts[of].Failed == ""
	known := m.c.demanded[name] || m.c.pairs[name] != nil
	busy := m.demands >= maxDemands
	if !known && !busy {
		m.demands++
	}
	m.mu.Unlock()
	if known || busy || !under(name, m.o.Domain) {
		return hope
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var err error
		if label := strings.TrimSuffix(name, "."+m.o.Domain); label != app.Brokers { // brokers are there
			_, err = m.o.Store.App(ctx, label)
		}
		m.mu.Lock()
		m.demands--
		if err == nil {
			m.c.demanded[name] = true
		}
		m.mu.Unlock()
		if err == nil {
			err = m.refresh(ctx)
		}
		if err != nil && app.CodeOf(err) != app.CodeNotFound {
			m.o.Log("certificates: %v", err)
		}
	}()
	return hope
}

// maxDemands bounds how many names are looked up at once.
const maxDemands = 16

// Obtained takes a certificate from the issuer. One that cannot be kept is served as long as this process runs.
func (m *Manager) Obtained(name string, p *certificate.Pair) {
	m.mu.Lock()
	if !slices.Contains(m.c.wanted, name) {
		m.mu.Unlock()
		return
	}
	was := m.c.pairs[name]
	m.c.pairs[name] = p
	delete(m.c.attempts, name)
	m.publish()
	m.mu.Unlock()
	if was == nil || string(was.Chain) != string(p.Chain) {
		m.o.Log("certificates: %s has one of %s until %s", name, app.Plain(p.Issuer()), p.Leaf.NotAfter.UTC().Format(time.DateTime))
		if err := m.o.Folder.Save(name, p); err != nil {
			m.o.Log("certificates: that of %s cannot be kept, and is served until the server ends: %v", name, err)
		}
		m.reapply(name)
	}
}

// Tried notes how an attempt for a certificate goes.
func (m *Manager) Tried(name string, a Attempt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.c.wanted, name) {
		return
	}
	if a.Failed != "" && a.Failed != m.c.attempts[name].Failed {
		m.o.Log("certificates: none for %s: %s", name, app.Plain(a.Failed))
	}
	m.c.attempts[name] = a
	close(m.c.changed)
	m.c.changed = make(chan struct{})
}

// Challenge has an answer given to those who issue certificates, until it is taken back by an empty one. token is of http-01, c of tls-alpn-01.
func (m *Manager) Challenge(name, token, text string, c *tls.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case token != "" && text != "":
		m.c.tokens[token] = text
	case token != "":
		delete(m.c.tokens, token)
	case c != nil:
		m.c.challenges[name] = c
	default:
		delete(m.c.challenges, name)
	}
	m.publish()
}

// reapply tells a platform that serves HTTPS itself of the certificate of a domain.
func (m *Manager) reapply(name string) {
	if m.o.Publish != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := m.o.Store.Domains(ctx, "")
	for _, d := range all {
		if d.Name == name {
			err = m.Apply(ctx, d.App)
		}
	}
	if err != nil {
		m.o.Log("certificates: %s: %v", name, err)
	}
}

// certificateOf says how it stands with the certificate of a domain. The caller holds mu.
func (m *Manager) certificateOf(d store.Domain) Certificate {
	p := m.c.pairs[d.Name]
	if p == nil {
		if _, up, ok := strings.Cut(d.Name, "."); ok {
			p = m.c.pairs["*."+up]
		}
	}
	c := Certificate{State: CertificateNone, File: d.File}
	a, tried := m.c.attempts[d.Name]
	if tried && a.Failed != "" {
		c.Error = a.Failed
		if !a.Next.IsZero() {
			c.Next = &a.Next
		}
	}
	switch {
	case p != nil:
		c.State, c.Issuer, c.Expires = CertificateValid, p.Issuer(), &p.Leaf.NotAfter
		if !m.o.Now().Before(p.Leaf.NotAfter) {
			c.State = CertificateExpired
		}
	case m.o.Issuer == nil || d.File:
	case c.Error != "":
		c.State = CertificateFailed
	default:
		c.State = CertificateObtaining
	}
	return c
}

// settled waits until a domain has its certificate, or an attempt has failed.
func (m *Manager) settled(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		m.mu.Lock()
		changed := m.c.changed
		done := m.c.pairs[name] != nil || m.c.attempts[name].Failed != "" || !slices.Contains(m.c.wanted, name)
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// settleTime is how long a command waits for a certificate.
const settleTime = 90 * time.Second
