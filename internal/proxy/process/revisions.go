package process

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/netns"
	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// lookAgain is the pause between two looks whether something has no request any more, while gitd waits for that.
const lookAgain = 2 * time.Millisecond

// revision is one that gitd has told.
type revision struct {
	*dataplane.Revision
	key       string
	instances map[string]*instance // also those that take no requests any more, until they are dropped
	closing   bool

	// Of count.
	busy, requests float64
	reported       time.Time
	told           sign // by the last message
}

// instance is one of it.
type instance struct {
	*dataplane.Instance
	in    bool // takes requests
	space *space
}

// space is the network namespace of an instance, open as long as the instance is there or a connection is being made to it.
type space struct {
	file    *os.File // nil: the proxy's own
	address netip.Addr
	port    int
}

func (s *space) dial(ctx context.Context) (net.Conn, error) {
	if s.file == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.port)).String())
	}
	return netns.Dial(ctx, s.file, s.address, s.port)
}

// addRevision makes one that is new. It is called with mu held, as all that follows.
func (p *Process) addRevision(m *wire.Revision) error {
	if p.whole != nil {
		p.whole.revisions[m.Key] = true
	}
	if r := p.revisions[m.Key]; r != nil {
		r.told = untold
		return nil
	}
	r := &revision{key: m.Key, instances: map[string]*instance{}, reported: time.Now()}
	asked := waker{p: p, r: r}
	r.Revision = dataplane.NewRevision(dataplane.RevisionOptions{
		App: m.App, Name: m.Name, Concurrency: m.Concurrency, Timeout: m.Timeout, HTTP1: m.HTTP1, H2C: m.H2C, NoWeb: m.NoWeb,
		Wake:    asked.wake,
		Learned: func() { p.tell(wire.KindH2C, wire.H2C{Key: m.Key}) },
	}, r.reported)
	p.revisions[m.Key] = r
	return nil
}

// waker tells gitd that a revision at zero is asked for: the first request at once, those that follow within a moment together.
type waker struct {
	p *Process
	r *revision

	mu   sync.Mutex
	last time.Time
	due  bool // it is told when the moment is over
}

const wakeAgain = 20 * time.Millisecond

func (w *waker) wake() {
	w.mu.Lock()
	if w.due {
		w.mu.Unlock()
		return
	}
	if wait := wakeAgain - time.Since(w.last); wait > 0 {
		w.due = true
		w.mu.Unlock()
		time.AfterFunc(wait, func() {
			w.mu.Lock()
			w.due, w.last = false, time.Now()
			w.mu.Unlock()
			w.p.asked(w.r)
		})
		return
	}
	w.last = time.Now()
	w.mu.Unlock()
	w.p.asked(w.r)
}

// asked tells gitd of a revision at zero. It is called without mu.
func (p *Process) asked(r *revision) {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.TellLast("wake "+r.key, wire.KindWake, wire.Wake{Key: r.key, InFlight: r.InFlight()})
	}
}

// setInstances has a revision's requests go to these.
func (p *Process) setInstances(m *wire.Instances, files []*os.File) error {
	r := p.revisions[m.Key]
	if r == nil {
		return nil // it is closed, and has no instances any more
	}
	var ready []*dataplane.Instance
	now := map[string]bool{}
	for _, told := range m.All {
		var file *os.File
		if !told.Known && !told.Here {
			if len(files) == 0 {
				return fmt.Errorf("%w: the instance %s has no network namespace", wire.ErrDamaged, told.ID)
			}
			file, files = files[0], files[1:]
		}
		if p.whole != nil {
			p.whole.instances[told.ID] = true
		}
		in := r.instances[told.ID]
		if in == nil {
			s := &space{address: told.Address, port: told.Port}
			if !told.Here {
				if file == nil {
					continue // gitd takes it for known, and it was dropped
				}
				var err error
				if s.file, err = wire.Dup(file); err != nil {
					return err
				}
			}
			in = &instance{Instance: dataplane.NewInstance(told.ID, told.H2C, s.dial), space: s}
			r.instances[told.ID] = in
		}
		in.in, now[told.ID] = true, true
		ready = append(ready, in.Instance)
	}
	r.SetInstances(ready)
	for id, in := range r.instances {
		if in.in && !now[id] {
			in.in = false
			go p.tellIdle(r, in)
		}
	}
	return nil
}

// tellIdle tells gitd when an instance that takes no requests any more has none.
func (p *Process) tellIdle(r *revision, in *instance) {
	for in.InFlight() > 0 {
		time.Sleep(lookAgain)
		p.mu.Lock()
		gone := r.instances[in.ID] != in
		p.mu.Unlock()
		if gone {
			return
		}
	}
	p.tell(wire.KindIdle, wire.Dropped{Key: r.key, ID: in.ID})
}

// dropInstance forgets an instance that has ended.
func (p *Process) dropInstance(m *wire.Dropped) error {
	if r := p.revisions[m.Key]; r != nil {
		if in := r.instances[m.ID]; in != nil {
			p.forget(r, in)
		}
	}
	return nil
}

func (p *Process) forget(r *revision, in *instance) {
	delete(r.instances, in.ID)
	in.Close()
	if in.space.file != nil {
		_ = in.space.file.Close()
	}
	p.tidy(r)
}

// tidy forgets a revision that is closed and has no instances.
func (p *Process) tidy(r *revision) {
	if r.closing && r.InFlight() <= 0 && len(r.instances) == 0 && p.revisions[r.key] == r {
		delete(p.revisions, r.key)
	}
}

func (p *Process) setFailing(m *wire.Failing) error {
	r := p.revisions[m.Key]
	switch {
	case r == nil:
	case m.Sentence == "":
		r.ClearFailing()
	default:
		r.SetFailing(m.Sentence)
	}
	return nil
}

// closeRevision refuses new requests of a revision, and tells when it has answered those that it has.
func (p *Process) closeRevision(m *wire.Asked) error {
	r := p.revisions[m.Key]
	if r == nil {
		p.link.Tell(wire.KindDone, wire.Asked{Number: m.Number})
		return nil
	}
	p.shut(r, m.Number)
	return nil
}

// shut closes a revision; number 0: no one waits for that.
func (p *Process) shut(r *revision, number uint64) {
	r.closing = true
	go func() {
		_ = r.Close(context.Background())
		if number != 0 {
			p.tell(wire.KindDone, wire.Asked{Number: number})
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tidy(r)
	}()
}

// drain tells when a revision has no request.
func (p *Process) drain(m *wire.Asked) error {
	r, l := p.revisions[m.Key], p.link
	go func() {
		for r != nil && r.InFlight() > 0 {
			select {
			case <-l.Done():
				return
			case <-time.After(lookAgain):
			}
		}
		l.Tell(wire.KindDone, wire.Asked{Number: m.Number})
	}()
	return nil
}

// begin begins a whole.
func (p *Process) begin(m *wire.Setup) error {
	p.whole = &whole{revisions: map[string]bool{}, instances: map[string]bool{}, kept: m.Keep && p.known}
	p.routes, p.named = map[string]*wire.Route{}, map[string][]wire.Target{}
	if p.whole.kept {
		return nil
	}
	p.own.Store(&m.OwnAddress)
	if p.whole.setup = m; !p.known || !sameSetup(&p.setup, m) {
		p.whole.plane = p.newPlane(m)
	}
	p.certs.begin()
	return nil
}

// end ends a whole: what it has not named goes, as soon as it has no requests.
func (p *Process) end() {
	w := p.whole
	p.whole = nil
	if w == nil {
		return
	}
	if !w.kept {
		p.stay.until, p.stay.stopped = time.Time{}, false
		p.setup, p.known = *w.setup, true
		p.led.open()
	}
	current := p.plane.Load()
	if w.plane != nil {
		p.planes = append(p.planes[max(0, len(p.planes)-mostPlanes+1):], w.plane)
		current = w.plane
	}
	p.publish()
	p.publishCertificates(current)
	if w.plane != nil {
		p.replacePlane(w.plane)
	}
	for key, r := range p.revisions {
		if !w.revisions[key] && !r.closing {
			r.SetFailing("was removed")
			p.shut(r, 0)
		}
		for id, in := range r.instances {
			if !w.instances[id] {
				in.in = false
				go p.forgetIdle(r, in)
			}
		}
		if w.revisions[key] && r.InFlight() > 0 && len(r.instances) == 0 { // it was asked for while there was no gitd
			p.link.TellLast("wake "+r.key, wire.KindWake, wire.Wake{Key: r.key, InFlight: r.InFlight()})
		}
	}
}

// forgetIdle forgets an instance that gitd does not know when it has no requests any more.
func (p *Process) forgetIdle(r *revision, in *instance) {
	for in.InFlight() > 0 {
		time.Sleep(50 * lookAgain)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.instances[in.ID] == in && !in.in {
		p.forget(r, in)
	}
}
