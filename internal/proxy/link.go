package proxy

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// link is one to a proxy.
type link struct {
	*wire.Link
	hello wire.Hello

	// The Proxy's mu guards the following.
	waiting      map[uint64]chan struct{} // questions that are not answered yet
	known        map[*Instance]bool       // what it was told of
	at           time.Duration            // of the last counts
	refused      map[string]int64
	open, turned int64
	counts       map[string]*wire.Revisioned // by key; of one that leaves
}

// links are those to all proxies, the one that takes new connections first. It is called with mu held.
func (p *Proxy) links() []*link {
	if p.link == nil {
		return slices.Clone(p.leaving)
	}
	return append([]*link{p.link}, p.leaving...)
}

// tellAll tells a proxy all that there is. It is called with mu held, as all that tells.
func (p *Proxy) tellAll(l *link, keep bool) {
	l.known = map[*Instance]bool{}
	setup := wire.Setup{Trusted: p.o.Trusted, Connections: p.o.Limits.Connections, PerAddress: p.o.Limits.PerAddress, Proxies: p.o.Limits.Proxies, Own: slices.Sorted(maps.Keys(p.o.Own)), OwnAddress: p.own.listener.Addr().String(), Domain: p.o.Domain, Keep: keep}
	if s := p.o.Secure; s != nil {
		setup.Secure = &wire.Secure{Port: s.Port, Stay: s.Stay, HSTS: s.HSTS, Wanted: s.Wanted != nil}
	}
	l.Tell(wire.KindSetup, setup)
	for r := range p.revisions {
		l.Tell(wire.KindRevision, r.wire())
		l.tellInstances(r)
		if r.failing != "" {
			l.Tell(wire.KindFailing, wire.Failing{Key: r.key, Sentence: r.failing})
		}
	}
	tellRoutes(l, nil, p.routes, nil, p.named)
	if !keep {
		newServed().tell(l, p.certs)
	}
	l.Tell(wire.KindWhole, struct{}{})
}

// tellListeners gives a proxy the listeners.
func (p *Proxy) tellListeners(l *link) {
	var names []string
	var files []*os.File
	for name, listener := range p.listeners {
		f, err := listener.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			p.o.Log("proxy: the listener %s cannot be given to the proxy: %v", name, err)
			continue
		}
		names, files = append(names, name), append(files, f)
	}
	l.Tell(wire.KindListen, wire.Listen{Names: names}, files...)
}

// tellInstances tells which instances of a revision take requests.
func (l *link) tellInstances(r *Revision) {
	m := wire.Instances{Key: r.key}
	var files []*os.File
	for _, in := range r.instances {
		told := wire.Instance{ID: in.id, H2C: in.h2c, Port: in.way.Port, Address: in.way.Address, Known: l.known[in], Here: in.way.Space == nil}
		if !told.Known && !told.Here {
			if len(files) == wire.MaxFiles { // the others come with the next one
				l.Tell(wire.KindInstances, m, files...)
				files = nil
				for i := range m.All {
					m.All[i].Known = true
				}
			}
			f, err := wire.Dup(in.way.Space)
			if err != nil { // it has ended
				continue
			}
			files = append(files, f)
		}
		l.known[in] = true
		m.All = append(m.All, told)
	}
	l.Tell(wire.KindInstances, m, files...)
}

// tellRoutes tells the difference between two tables.
func tellRoutes(l *link, before, after map[string]*wire.Route, namedBefore, namedAfter map[string][]wire.Target) {
	m := wire.Routes{Hosts: map[string]*wire.Route{}, Named: map[string][]wire.Target{}}
	tell := func(most int) {
		if len(m.Hosts)+len(m.Named) >= most {
			m.More = most > 1
			l.Tell(wire.KindRoutes, m)
			m.Hosts, m.Named = map[string]*wire.Route{}, map[string][]wire.Target{}
		}
	}
	for host, r := range after {
		if !reflect.DeepEqual(before[host], r) {
			m.Hosts[host] = r
			tell(wire.MaxSet)
		}
	}
	for host := range before {
		if after[host] == nil {
			m.Hosts[host] = nil
			tell(wire.MaxSet)
		}
	}
	for name, split := range namedAfter {
		if !reflect.DeepEqual(namedBefore[name], split) {
			m.Named[name] = split
			tell(wire.MaxSet)
		}
	}
	for name := range namedBefore {
		if namedAfter[name] == nil {
			m.Named[name] = nil
			tell(wire.MaxSet)
		}
	}
	m.More = false
	l.Tell(wire.KindRoutes, m)
}

// hear takes what a proxy says, until the link ends.
func (p *Proxy) hear(l *link) error {
	for {
		f, err := l.Receive()
		if err == nil {
			err = p.take(l, &f)
		}
		if err != nil {
			l.End(err)
			return l.Err()
		}
	}
}

// take does what a frame of a proxy says.
func (p *Proxy) take(l *link, f *wire.Frame) error {
	defer f.Close()
	switch f.Kind {
	case wire.KindDone:
		return into(f, func(m *wire.Asked) { p.done(l, m) })
	case wire.KindWake:
		return into(f, func(m *wire.Wake) { p.woken(m) })
	case wire.KindH2C:
		return into(f, func(m *wire.H2C) { p.learned(m) })
	case wire.KindIdle:
		return into(f, func(m *wire.Dropped) { p.idle(l, m) })
	case wire.KindWanted:
		return into(f, func(m *wire.Wanted) {
			yes := p.o.Secure != nil && p.o.Secure.Wanted != nil && p.o.Secure.Wanted(m.Name)
			l.Tell(wire.KindAnswer, wire.Answer{Number: m.Number, Yes: yes})
		})
	case wire.KindCounts:
		return into(f, func(m *wire.Counts) { p.counted(l, m) })
	}
	return nil // a newer proxy says it to those who know it
}

func into[M any](f *wire.Frame, do func(*M)) error {
	m := new(M)
	if err := f.Into(m); err != nil {
		return err
	}
	do(m)
	return nil
}

func (p *Proxy) done(l *link, m *wire.Asked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := l.waiting[m.Number]; c != nil {
		close(c)
		delete(l.waiting, m.Number)
	}
}

func (p *Proxy) woken(m *wire.Wake) {
	p.mu.Lock()
	r := p.keys[m.Key]
	if r != nil {
		if r.now == nil {
			r.now = &wire.Revisioned{}
		}
		r.now.InFlight = max(1, m.InFlight)
	}
	p.mu.Unlock()
	if r != nil && r.o.Wake != nil {
		r.o.Wake()
	}
}

func (p *Proxy) learned(m *wire.H2C) {
	p.mu.Lock()
	r := p.keys[m.Key]
	if r != nil {
		r.o.H2C = true
	}
	p.mu.Unlock()
	if r != nil && r.o.Learned != nil {
		r.o.Learned()
	}
}

func (p *Proxy) idle(l *link, m *wire.Dropped) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for in := range l.known {
		if in.id == m.ID && in.r.key == m.Key && slices.Contains(in.leaving, l) {
			in.left(l)
			if l == p.link {
				in.now = wire.Instanced{}
			}
		}
	}
}

func (p *Proxy) counted(l *link, m *wire.Counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.at, l.refused, l.open, l.turned = m.At, m.Refused, m.Open, m.Turned
	if l != p.link {
		maps.Copy(l.counts, m.Revisions)
		return
	}
	for key, c := range m.Revisions {
		if r := p.keys[key]; r != nil {
			r.now = c
		}
	}
	for in := range l.known {
		if c := m.Revisions[in.r.key]; c != nil {
			in.now = c.Instances[in.id]
		}
	}
}

// gone notes that a proxy has ended: what it had under way is lost, what it has counted stays.
func (p *Proxy) gone(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastPID, p.refusedUndo, p.turnedUndo = l.hello.PID, maps.Clone(p.refused), p.turned
	for _, r := range p.keys {
		r.undo = r.before
		r.before, r.now = plus(r.before, r.now), nil
		r.before.InFlight, r.before.Held = 0, 0
	}
	for in := range l.known {
		in.now = wire.Instanced{}
		in.left(l)
	}
	for name, n := range l.refused {
		p.refused[name] += n
	}
	p.turned += l.turned
	if p.link == l {
		p.link = nil
	}
}
