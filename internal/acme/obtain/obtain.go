// Package obtain is gitd-acme: it obtains certificates and renews them, by certmagic.
package obtain

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/gitd-io/gitd/internal/acme/wire"
	"go.uber.org/zap"
)

// program is one run of gitd-acme.
type program struct {
	config wire.Config
	plain  *certmagic.Config // names that are proven by HTTP or TLS
	dns    *certmagic.Config // names that are proven by the DNS
	cache  *certmagic.Cache
	store  certmagic.Storage
	issues *issuers
	notes  *notes

	running sync.WaitGroup

	saying sync.Mutex // saying guards out; orders are obeyed while gitd does not read
	out    *json.Encoder

	mu      sync.Mutex // mu guards the following
	number  int
	waiting map[int]chan error // for gitd to answer a challenge
	shown   map[string]wire.Challenge
	names   map[string]*name
}

// Run obeys gitd until its input ends.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &program{out: json.NewEncoder(out), waiting: map[int]chan error{}, shown: map[string]wire.Challenge{}, names: map[string]*name{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), 64<<20)
	for lines.Scan() {
		var o wire.Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		switch {
		case o.Config != nil:
			if err := p.configure(*o.Config); err != nil {
				return err
			}
		case p.plain == nil:
			return errors.New("the first order is no configuration")
		case o.Names != nil:
			p.want(ctx, *o.Names)
		case o.Again != "":
			p.again(o.Again)
		case o.Done != 0:
			p.done(o.Done, o.Failed)
		}
	}
	cancel()
	p.running.Wait()
	return lines.Err()
}

// configure sets certmagic up.
func (p *program) configure(c wire.Config) error {
	p.config = c
	p.notes = openNotes(filepath.Join(c.Dir, "attempts.json"))
	certmagic.UserAgent = "gitd"
	p.store = &storage{FileStorage: &certmagic.FileStorage{Path: c.Dir}, p: p}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if c.Roots != "" && !roots.AppendCertsFromPEM([]byte(c.Roots)) {
		return errors.New("the roots that authorities' own certificates may have cannot be read")
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	p.issues = &issuers{roots: roots, resolver: c.Resolver}
	p.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return p.plain, nil },
		RenewCheckInterval: c.Every, OCSPCheckInterval: 1000 * time.Hour, // it has nothing to look after: each name does that itself
		Logger: zap.NewNop(),
	})
	for _, of := range []**certmagic.Config{&p.plain, &p.dns} {
		cfg := certmagic.New(p.cache, certmagic.Config{Storage: p.store, Logger: zap.NewNop(), OCSP: certmagic.OCSPConfig{DisableStapling: true}, DisableStorageCheck: true})
		cfg.Issuers = nil // New has set one of its own
		for _, directory := range c.Directories {
			t := certmagic.ACMEIssuer{CA: directory, TestCA: directory, Email: c.Email, Agreed: true, TrustedRoots: roots, Logger: zap.NewNop(), CertObtainTimeout: attemptTime,
				ListenHost: "127.0.0.1", AltHTTPPort: port, AltTLSALPNPort: port, // certmagic listens here; no challenge comes this way
				DisableHTTPChallenge:    len(c.Challenges) > 0 && !slices.Contains(c.Challenges, wire.HTTP),
				DisableTLSALPNChallenge: len(c.Challenges) > 0 && !slices.Contains(c.Challenges, wire.ALPN)}
			if of == &p.dns {
				t.DNS01Solver = &records{p}
			}
			cfg.Issuers = append(cfg.Issuers, &silent{certmagic.NewACMEIssuer(cfg, t)})
		}
		*of = cfg
	}
	return nil
}

// silent is an issuer that does not ask for an email address: standard input is gitd's.
type silent struct{ *certmagic.ACMEIssuer }

// PreCheck implements certmagic.PreChecker.
func (s *silent) PreCheck(ctx context.Context, names []string, _ bool) error {
	return s.ACMEIssuer.PreCheck(ctx, names, false)
}

// freePort is a port of this machine that nothing listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// want starts what looks after new names, and ends what looks after those that went.
func (p *program) want(ctx context.Context, names []wire.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for have, n := range p.names {
		if !slices.Contains(names, n.Name) {
			n.cancel()
			delete(p.names, have)
		}
	}
	for _, w := range names {
		if p.names[w.Name] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		n := &name{Name: w, p: p, cfg: p.plain, cancel: cancel, poke: make(chan struct{}, 1)}
		if w.DNS {
			n.cfg = p.dns
		}
		p.names[w.Name] = n
		p.running.Go(func() { n.look(ctx) })
	}
	p.notes.keep(names)
}

func (p *program) again(which string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.names[which]; n != nil {
		select {
		case n.poke <- struct{}{}:
		default:
		}
	}
}

// report tells gitd.
func (p *program) report(r wire.Report) {
	_ = p.say(r) // without gitd the input ends as well
}

func (p *program) say(r wire.Report) error {
	p.saying.Lock()
	defer p.saying.Unlock()
	return p.out.Encode(r)
}

// answer has gitd answer a challenge, or stop that, and waits until it does.
func (p *program) answer(ctx context.Context, c wire.Challenge) error {
	done := make(chan error, 1)
	p.mu.Lock()
	p.number++
	c.Number = p.number
	p.waiting[c.Number] = done
	p.mu.Unlock()
	if err := p.say(wire.Report{Challenge: &c}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *program) done(number int, failed string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.waiting[number]; c != nil {
		if failed != "" {
			c <- errors.New(failed)
		}
		close(c)
		delete(p.waiting, number)
	}
}
