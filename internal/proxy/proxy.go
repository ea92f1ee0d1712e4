// Package proxy is gitd's side of the proxy, which carries users' requests: it keeps what the proxy is to do, tells it, and hears what it needs. The proxy itself is a process of its own,
// gitd-proxy (package process), or, in tests, goroutines of this process; both are spoken to over the same link (package wire). When a proxy dies, another one is started and told all of it.
package proxy

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// Secure says how names with a certificate are served; Certificates are those, and what is answered to who issues them.
type (
	Secure       = dataplane.Secure
	Certificates = dataplane.Certificates
)

// Limits bound what clients may have open. What is zero has no bound.
type Limits struct {
	Connections int            // at once, of all clients; and requests at once
	PerAddress  int            // of one IPv4 address or IPv6 /64, the same
	Proxies     []netip.Prefix // proxies of many clients, without the bound of one address
}

// Options configure a Proxy.
type Options struct {
	Inside  func(*net.UnixConn) // runs the proxy within this process, for tests: process.Inside; nil: it is gitd-proxy
	Socket  string              // to which the next gitd comes, so that the proxy serves on without one; "": the proxy ends with this process
	Adopted *Adopted            // a proxy that was found already
	Held    func() *os.File     // returns a descriptor that is at its end when the service is stopped, for the proxy; nil, or nil returned: no service manager holds the other end
	Domain  string              // what the names of apps end with
	Keeps   bool                // it knows no settings: those of the adopted proxy stay, with its certificates and listeners
	Trusted []netip.Prefix
	Secure  *Secure // nil: there is no HTTPS
	Limits  Limits
	// Own are the handlers of hosts that gitd answers itself, even where an app has the name: such requests bring tokens that no app may see.
	Own map[string]http.Handler
	Log func(format string, args ...any)

	Versions wire.Versions // of what it says to proxies; the zero value: those of this build
}

// Table is what requests are routed by. It is not changed after it was published.
type Table struct {
	// Hosts are host names in lower case, without a port; or "*." and a name, for those that have one label more and are not among them.
	Hosts map[string]Route
	// Named are the splits that requests of gitd's own go by that name them, whatever their host.
	Named map[string]Split
}

// Route is where the requests for a host go.
type Route struct {
	Split       Split
	Stopped     string // the name of the app, where it is stopped: requests are answered with 503
	Sticky      bool   // clients stay, by a cookie, with the revision that they came to first
	Maintenance *Maintenance
}

// Split distributes requests. Percentages add up to 100.
type Split []Target

// Target is one revision of a split.
type Target struct {
	Revision *Revision
	Percent  int64
}

// Maintenance stands in front of a host: requests wait for its end for so long, or are answered with 503.
type Maintenance struct {
	App  string
	Hold time.Duration
}

// Proxy is what the proxy is to do.
type Proxy struct {
	o        Options
	own      *own
	inside   *inside
	starting sync.Mutex // held while the proxy is started the first time
	closing  chan struct{}
	ended    context.Context // ends with Close
	end      context.CancelFunc
	tasks    sync.WaitGroup

	mu sync.Mutex // mu guards the following

	revisions map[*Revision]struct{}
	keys      map[string]*Revision
	routes    map[string]*wire.Route
	named     map[string][]wire.Target
	certs     *served
	listeners map[string]net.Listener
	link      *link   // to the proxy; nil while there is none
	leaving   []*link // to proxies of other builds, which answer what they have; they are told all changes
	deaf      []*link // the same, but they speak no version that this gitd does, and are told nothing
	held      bool    // a service manager was given a descriptor for it
	asked     uint64
	refused   map[string]int64 // by proxies that have ended
	turned    int64

	// As it was before the last proxy was taken for ended.
	lastPID     int
	refusedUndo map[string]int64
	turnedUndo  int64
}

// New returns a Proxy that is not started yet.
func New(o Options) *Proxy {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Versions == (wire.Versions{}) {
		o.Versions = wire.Ours
	}
	ended, end := context.WithCancel(context.Background())
	return &Proxy{o: o, ended: ended, end: end, closing: make(chan struct{}), revisions: map[*Revision]struct{}{}, keys: map[string]*Revision{}, routes: map[string]*wire.Route{},
		named: map[string][]wire.Target{}, certs: newServed(), listeners: map[string]net.Listener{}, refused: map[string]int64{}}
}

// Publish replaces the table. Settle waits until requests go by it.
func (p *Proxy) Publish(t *Table) {
	routes, named := map[string]*wire.Route{}, map[string][]wire.Target{}
	for host, r := range t.Hosts {
		routes[host] = &wire.Route{Split: r.Split.wire(), Stopped: r.Stopped, Sticky: r.Sticky, Maintenance: (*wire.Maintenance)(r.Maintenance)}
	}
	for name, split := range t.Named {
		named[name] = split.wire()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links() {
		tellRoutes(l, p.routes, routes, p.named, named)
	}
	p.routes, p.named = routes, named
}

func (s Split) wire() []wire.Target {
	targets := make([]wire.Target, len(s))
	for i, t := range s {
		targets[i] = wire.Target{Key: t.Revision.key, Percent: t.Percent}
	}
	return targets
}

// PublishCertificates replaces the certificates.
func (p *Proxy) PublishCertificates(c *Certificates) {
	next, unread := serve(c)
	for _, name := range unread {
		p.o.Log("proxy: the key of the certificate for %s cannot be told to the proxy, and the name has none", name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links() {
		p.certs.tell(l, next)
	}
	p.certs = next
}

// settleTime bounds how long a change waits for a proxy that does not answer.
const settleTime = 5 * time.Second

// Settle waits until what was told before is in effect. Where there is no proxy, it will be when there is one.
func (p *Proxy) Settle() { p.ask(context.Background(), wire.KindAsk, wire.Asked{}) }

// Refresh waits for the counts of now.
func (p *Proxy) Refresh() { p.ask(context.Background(), wire.KindAsk, wire.Asked{Counts: true}) }

// ask asks the proxy something, and those that leave, and returns false where the first ended before it answered, or ctx did.
func (p *Proxy) ask(ctx context.Context, kind wire.Kind, q wire.Asked) bool {
	p.mu.Lock()
	asked := p.links()
	if kind == wire.KindLeave {
		asked = append(asked, p.deaf...)
	}
	if p.link == nil {
		p.mu.Unlock()
		return false
	}
	p.asked++
	q.Number = p.asked
	done := make([]chan struct{}, len(asked))
	for i, l := range asked {
		done[i] = make(chan struct{})
		l.waiting[q.Number] = done[i]
		l.Tell(kind, q)
	}
	p.mu.Unlock()
	if kind == wire.KindAsk {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, settleTime)
		defer cancel()
	}
	answered := true
	for i, l := range asked {
		select {
		case <-done[i]:
			continue
		case <-l.Done():
		case <-ctx.Done():
			p.mu.Lock()
			delete(l.waiting, q.Number)
			p.mu.Unlock()
		}
		answered = answered && i > 0
	}
	return answered
}

// Refused returns how many requests were answered without a revision, by the reason.
func (p *Proxy) Refused() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]int64{}
	for name, n := range p.refused {
		all[name] += n
	}
	for _, l := range p.links() {
		for name, n := range l.refused {
			all[name] += n
		}
	}
	return all
}

// Connections returns how many connections of clients are open, and how many connections and requests were refused because there were too many.
func (p *Proxy) Connections() (open, refused int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refused = p.turned
	for _, l := range p.links() {
		open += l.open
		refused += l.turned
	}
	return open, refused
}
