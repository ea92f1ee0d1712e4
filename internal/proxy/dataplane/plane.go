// Package dataplane routes requests to the instances of revisions: by host to a service or a tag, by percentage to a
// revision, by load to an instance. Requests for a revision that has no instance are held until it has one.
package dataplane

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
)

// Target is one revision of a split.
type Target struct {
	Revision *Revision
	Percent  int64
}

// Split distributes the requests for one host. Percentages add up to 100.
type Split []Target

// Table is what a Plane routes by. It is not changed after it was published.
type Table struct {
	// Hosts are host names in lower case, without a port; or "*." and a name, for those that have one label more and are not among them.
	Hosts map[string]Split
	// Stopped are the Hosts of apps that are stopped, with their names: requests are answered with 503.
	Stopped map[string]string
	// Sticky are the Hosts whose clients stay, by a cookie, with the revision that they came to first.
	Sticky map[string]bool
	// Maintenance stands in front of some of the Hosts.
	Maintenance map[string]*Maintenance
	// Named are the splits that a request reaches by WithSplit, whatever its host. Those requests are gitd's own, and are not counted.
	Named map[string]Split
}

// Plane is the http.Handler in front of all instances.
type Plane struct {
	table   atomic.Pointer[Table]
	trusted []netip.Prefix
	own     map[string]http.Handler
	secure  *secure                     // nil: there is no HTTPS
	refused [len(refusals)]atomic.Int64 // requests that no revision got
}

// New returns a Plane that answers 404 to everything. The X-Forwarded headers of peers in trusted are passed on; those of others are
// replaced.
func New(trusted []netip.Prefix) *Plane {
	p := &Plane{trusted: trusted}
	p.table.Store(&Table{})
	return p
}

// Own has a handler answer the requests for a host, even where an app has it: they bring tokens that no app may see. It is called before the first request.
func (p *Plane) Own(host string, h http.Handler) {
	if p.own == nil {
		p.own = map[string]http.Handler{}
	}
	p.own[host] = h
}

// Publish replaces the table: requests that come in after it returns go by the new one.
func (p *Plane) Publish(t *Table) { p.table.Store(t) }

type markKey struct{}

// mark is on the requests that gitd makes itself: checks, calls of functions, deliveries of events. They come over no connection. So there is no TLS to move to,
// and no peer to trust: what they say of a client was chosen by a caller.
type mark struct {
	split string
	named bool // they go by split
}

// WithSplit marks a request as gitd's own, and makes it go by the split of that name instead of by its host.
func WithSplit(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, markKey{}, &mark{name, true})
}

// WithMark marks a request as gitd's own. It goes by its host, as those of clients do.
func WithMark(ctx context.Context) context.Context {
	return context.WithValue(ctx, markKey{}, &mark{})
}

// find returns the splits of a name, and how the table has the name: as it is, or with "*.".
func (t *Table) find(name string) (at string, split Split) {
	if split, known := t.Hosts[name]; known {
		return name, split
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		if any, ok := t.Hosts["*."+rest]; ok {
			return "*." + rest, any
		}
	}
	return name, nil
}

// ServeHTTP passes a request to an instance, or answers it with a status and one sentence.
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for {
		t := p.table.Load()
		name := host(r.Host)
		at, split := t.find(name)
		marked, _ := r.Context().Value(markKey{}).(*mark)
		own := marked != nil && marked.named
		if own {
			split = t.Named[marked.split]
		}
		if s := p.secure; s != nil {
			if r = p.secured(s, w, r, at, name, marked != nil); r == nil {
				return
			}
		}
		if h := p.own[name]; h != nil && marked == nil {
			h.ServeHTTP(w, r)
			return
		}
		if stopped := t.Stopped[at]; stopped != "" && !own {
			p.refused[refusedStopped].Add(1)
			refuse(w, r, http.StatusServiceUnavailable, "the app "+stopped+" is stopped: no request starts it; its owner does: ps start "+stopped)
			return
		}
		if len(split) == 0 {
			p.refused[refusedUnknown].Add(1)
			refuse(w, r, http.StatusNotFound, "no app is served at "+strconv.QuoteToASCII(clip(at, 100))+": check the name; an app answers from its first push on")
			return
		}
		if m := t.Maintenance[at]; m != nil && !own {
			if !m.pass(w, r) {
				p.refused[refusedMaintenance].Add(1)
				return
			}
			continue
		}
		var revision *Revision
		if len(split) > 1 && t.Sticky[at] {
			revision = split.stick(w, r)
		} else {
			revision = split.pick()
		}
		if !revision.hold() { // the table was replaced in between, and the revision is gone
			if p.table.Load() == t {
				p.refused[refusedRemoved].Add(1)
				refuse(w, r, http.StatusServiceUnavailable, "the app is being removed: no later request is answered")
				return
			}
			continue
		}
		p.serve(revision, w, r, marked == nil && p.trusts(r.RemoteAddr), !own)
		return
	}
}

func (p *Plane) serve(revision *Revision, w http.ResponseWriter, r *http.Request, trusted, tally bool) {
	defer revision.release() // a deferred call: ReverseProxy panics to break off a response
	revision.serve(w, r, trusted, tally)
}

// pick draws a revision. Of each hundred requests, counted at the first revision, each gets exactly its percentage, in an order that clients cannot foresee:
// of the few requests that a canary is judged by, none is left to chance.
func (s Split) pick() *Revision {
	if len(s) > 1 {
		n := draw(s[0].Revision.draws.Add(1) - 1)
		for _, t := range s {
			if n -= t.Percent; n < 0 {
				return t.Revision
			}
		}
	}
	return s[0].Revision
}

// seed makes the order of draws differ from process to process.
var seed = rand.Uint64()

// draw is the place from 0 to 99 of the i-th request: a permutation of each hundred, with a factor that has no divisor in common with it.
func draw(i uint64) int64 {
	h := (i/100 + seed) * 0x9e3779b97f4a7c15 // as in splitmix64
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	factor := 10*(h%10) + [...]uint64{1, 3, 7, 9}[h>>32%4]
	return int64((factor*(i%100) + h>>40%100) % 100)
}

// host returns the name in a Host header: without port and trailing dot, in lower case.
func host(h string) string {
	if i := strings.LastIndexByte(h, ':'); i >= 0 && h[len(h)-1] != ']' {
		h = h[:i]
	}
	return strings.TrimSuffix(strings.ToLower(h), ".") // ToLower copies only what has an upper-case letter
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
