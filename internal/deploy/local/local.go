// Package local is the platform on one machine: it accepts the same Service as Knative and runs it with runc, with Knative's
// own code for defaults, validation and scale.
package local

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/keyed"
	"github.com/gitd-io/gitd/internal/proxy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// Images is where the platform finds images: *registry.Registry.
type Images interface {
	// Image returns an image of a repository, or registry.ErrNotFound (wrapped).
	Image(repository, digest string) (v1.Image, error)
}

// Options configure a Platform. What is zero has the default that is given.
type Options struct {
	Dir      string // Services, revisions, instances' logs; survives restarts
	Domain   string // Services answer under NAME.DOMAIN, tags under TAG-NAME.DOMAIN
	Port     int    // port in the URLs that Get returns; none
	Host     *sandbox.Host
	Registry Images
	Layers   *sandbox.Layers
	Config   deploy.Configuration // nil: a Service that names one does not start
	Log      func(format string, args ...any)
	// Sink returns what takes the events of an app; nil where there are no brokers.
	Sink func(app string, id int64) http.Handler

	// Own are the handlers of hosts NAME.Domain that answer requests rather than an app of that name: they bring tokens that no app may see.
	Own         map[string]http.Handler
	Limits      proxy.Limits
	Socket      string              // of the proxy, for the next process; "": the proxy ends with this one
	Adopted     *proxy.Adopted      // a proxy that was found already
	Held        func() *os.File     // see proxy.Options
	Keeps       bool                // see proxy.Options
	ProxyInside func(*net.UnixConn) // runs the proxy in this process, for tests; nil: it is gitd-proxy

	Domains          map[string][]deploy.Domain // by service, as SetDomains was told before; the platform does not keep them
	Secure           *Secure                    // nil: there is no HTTPS
	TrustedProxies   []netip.Prefix             // peers whose X-Forwarded-* headers are passed on; none
	Memory           int64                      // bytes for an instance whose template sets no limit; 512 MiB
	MaxScale         int                        // most instances of a revision whose template sets no max-scale; 10
	ProgressDeadline time.Duration              // for an instance to become ready, without the annotation; 60 s
	ScaleToZeroGrace time.Duration              // 30 s; negative for none
	DrainTimeout     time.Duration              // for the requests at an instance that is being stopped; 30 s
	StopGrace        time.Duration              // from SIGTERM to SIGKILL; 10 s
	LogLimit         int64                      // bytes kept of one instance's log; 32 MiB
	Prepared         int                        // most apps at zero that have a prepared instance, as far as there is memory; 64, negative for none
	MemoryLeft       func() int64               // bytes of memory that the machine has available; by /proc/meminfo
}

func (o Options) withDefaults() Options {
	o.Memory = cmp.Or(o.Memory, 512<<20)
	o.MaxScale = cmp.Or(o.MaxScale, 10)
	o.ProgressDeadline = cmp.Or(o.ProgressDeadline, time.Minute)
	o.ScaleToZeroGrace = cmp.Or(o.ScaleToZeroGrace, 30*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.StopGrace = cmp.Or(o.StopGrace, 10*time.Second)
	o.LogLimit = cmp.Or(o.LogLimit, 32<<20)
	if o.MemoryLeft == nil {
		o.MemoryLeft = memoryLeft
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return o
}

// Platform implements deploy.Platform.
type Platform struct {
	opts  Options
	store store
	proxy *proxy.Proxy

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	starts   *starts
	spares   *spares
	promised atomic.Int64 // bytes of memory that starting instances may take
	locks    keyed.Locks  // by service: one change at a time

	mu sync.RWMutex // mu guards the following

	processes map[*revision]struct{} // revisions outside of services, whose layers must stay: those of runs, and deleted ones until they have ended
	runs      map[string]*startedRun // by name: those that outlive gitd
	services  map[string]*service
	domains   map[string][]deploy.Domain // by service, which need not exist
	pruning   bool
	pruneDue  bool
}

// service is one Service with its revisions. It is immutable; a change replaces it under the Platform's mu.
type service struct {
	object    *servingv1.Service
	traffic   []servingv1.TrafficTarget // resolved: each with a revision name and a percentage
	revisions map[string]*revision
	stopped   bool // nothing of it runs

	maintenance *deploy.Maintenance // nil while it is off
}

var _ deploy.Platform = (*Platform)(nil)

// Limits bound what clients may have open.
type Limits = proxy.Limits

// Open loads the Services and adopts the instances that still run; when it returns, requests are answered.
func Open(ctx context.Context, o Options) (*Platform, error) {
	o = o.withDefaults()
	for _, d := range []string{"services", "logs"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	p := &Platform{opts: o, store: store{filepath.Join(o.Dir, "services")},
		starts: newStarts(4), services: map[string]*service{}, processes: map[*revision]struct{}{}, runs: map[string]*startedRun{}, domains: maps.Clone(o.Domains)}
	if p.domains == nil {
		p.domains = map[string][]deploy.Domain{}
	}
	own := map[string]http.Handler{}
	for name, h := range o.Own {
		own[name+"."+o.Domain] = h
	}
	p.proxy = proxy.New(proxy.Options{Inside: o.ProxyInside, Socket: o.Socket, Adopted: o.Adopted, Held: o.Held, Keeps: o.Keeps, Domain: o.Domain, Trusted: o.TrustedProxies, Secure: o.Secure, Limits: o.Limits, Own: own, Log: o.Log})
	p.spares = newSpares(p)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("read the Services in %s: %w", o.Dir, err)
	}
	if err := p.adopt(ctx); err != nil {
		return nil, fmt.Errorf("find the instances that run: %w", err)
	}
	p.mu.Lock()
	for _, s := range p.services {
		for _, r := range s.revisions {
			p.run(r)
		}
	}
	p.publish()
	p.mu.Unlock()
	p.tasks.Go(p.spares.run)
	return p, nil
}

// load reads the Services and their revisions. One that cannot be read is reported and left out: the others still serve.
func (p *Platform) load() error {
	records, err := p.store.load(p.opts.Log)
	if err != nil {
		return err
	}
	for _, rec := range records {
		s := &service{object: rec.service, revisions: map[string]*revision{}, stopped: rec.stopped}
		for _, t := range rec.revisions {
			r, err := p.newRevision(rec.service.Name, t, true)
			if err != nil {
				p.opts.Log("deploy: revision %s is left out: %v", t.Template.Name, err)
				continue
			}
			s.revisions[r.name] = r
		}
		s.traffic, err = resolveTraffic(rec.service, s.revisions)
		if err != nil {
			p.opts.Log("deploy: service %s is left out: %v", rec.service.Name, err)
			continue
		}
		m, err := p.store.maintenance(rec.service.Name)
		if err != nil {
			p.opts.Log("deploy: whether %s is being maintained cannot be read, and it is not: %v", rec.service.Name, err)
		} else if m != nil {
			s.maintenance = m
		}
		p.services[rec.service.Name] = s
	}
	p.updateReachable()
	return nil
}

// Close stops deciding and leaves the instances running for the next process, which prepares its own.
func (p *Platform) Close() error {
	p.cancel()
	p.spares.close()
	p.tasks.Wait()
	p.proxy.Close()
	return nil
}

// Serve has the proxy serve these listeners; the one for HTTPS may be nil. It is called once, when all certificates are published.
func (p *Platform) Serve(plain, secure net.Listener) error { return p.proxy.Serve(plain, secure) }

// Shutdown has the proxy take no more requests, answer those under way, and end.
func (p *Platform) Shutdown(ctx context.Context) { p.proxy.Shutdown(ctx) }

// Connections returns how many connections of clients are open, and how many connections and requests were refused because there were too many.
func (p *Platform) Connections() (open, refused int64) { return p.proxy.Connections() }

// Stay has the proxy serve on for the next process when this one ends, for so long, or, where a service manager holds its descriptor, until the service is stopped.
func (p *Platform) Stay(ctx context.Context, wait time.Duration) { p.proxy.Stay(ctx, wait) }

// lock serialises the changes to one Service.
func (p *Platform) lock(name string) (unlock func()) {
	return p.locks.Lock(name)
}

// publish gives the proxy the routes of all Services. The caller holds mu.
func (p *Platform) publish() {
	t := &proxy.Table{Hosts: map[string]proxy.Route{}, Named: map[string]proxy.Split{}}
	for name, s := range p.services {
		stopped := ""
		if s.stopped {
			stopped = name
		}
		for _, target := range s.traffic {
			if target.Tag == "" {
				continue
			}
			split := proxy.Split{{Revision: s.revisions[target.RevisionName].proxy, Percent: 100}}
			t.Named[name+"/"+target.Tag] = split
			t.Hosts[target.Tag+"-"+name+"."+p.opts.Domain] = proxy.Route{Split: split, Stopped: stopped}
		}
	}
	for name, s := range p.services { // after the tags: a tag of another app must not take an app's host
		route := proxy.Route{Sticky: deploy.Sticky(s.object)}
		if s.stopped {
			route.Stopped = name
		}
		if s.maintenance != nil {
			route.Maintenance = &proxy.Maintenance{App: name, Hold: s.maintenance.Hold}
		}
		for _, target := range s.traffic {
			if percent(target) > 0 {
				route.Split = append(route.Split, proxy.Target{Revision: s.revisions[target.RevisionName].proxy, Percent: percent(target)})
			}
		}
		for _, host := range p.hosts(name) {
			t.Hosts[host] = route
		}
	}
	p.proxy.Publish(t)
	p.updateReachable()
}

// updateReachable tells the revisions whether requests can reach them. The caller holds mu, or is Open.
func (p *Platform) updateReachable() {
	for _, s := range p.services {
		reachable := map[string]bool{}
		for _, target := range s.traffic {
			if percent(target) > 0 || target.Tag != "" {
				reachable[target.RevisionName] = true
			}
		}
		for name, r := range s.revisions {
			r.setReachable(reachable[name] && !s.stopped, s.stopped)
		}
	}
}

// service returns a service, or ErrNotFound. The caller holds mu.
func (p *Platform) service(name string) (*service, error) {
	s := p.services[name]
	if s == nil {
		return nil, fmt.Errorf("service %s: %w", name, deploy.ErrNotFound)
	}
	return s, nil
}

// find returns a revision, or ErrNotFound.
func (p *Platform) find(service, name string) (*revision, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, err := p.service(service)
	if err != nil {
		return nil, err
	}
	r := s.revisions[name]
	if r == nil {
		return nil, fmt.Errorf("revision %s: %w", name, deploy.ErrNotFound)
	}
	return r, nil
}
