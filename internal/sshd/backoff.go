package sshd

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How failures of an address count. A stranger may fail MaxAuthFailures times at once, and then once in each AuthRecovery.
const (
	failedLogin   = 1.0
	failedProbe   = 0.1            // came and went, as port scans and health checks of load balancers do
	knownWeight   = 0.1            // of a failure where a login has succeeded lately: behind a shared address one broken client must not lock out the rest
	knownFor      = 24 * time.Hour // what "lately" is
	maxOverdraft  = 5.0            // failures above the limit that count: no address waits longer than so many times AuthRecovery after the last failure
	maxBackoffs   = 16384          // addresses that are remembered; about 4 MB
	ipv6NetworkOf = 64             // bits of an IPv6 address that one customer has: all the rest is theirs to choose
)

// addressOf returns what one client is counted by: its IPv4 address, or its IPv6 network (/64).
func addressOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	addr := p.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(ipv6NetworkOf); err == nil {
			return network.Addr()
		}
	}
	return addr
}

// backoff remembers from where authentication fails, in bounded memory: the address that was heard of least recently is forgotten first.
type backoff struct {
	limit    float64       // failures at once; below 0 for no limit
	recovery time.Duration // until one failure is forgotten

	mu      sync.Mutex
	entries map[netip.Addr]*list.Element // of *backoffEntry
	order   list.List                    // most recently changed first
}

type backoffEntry struct {
	address netip.Addr
	bucket  bucket
	known   time.Time // of the last success
}

func newBackoff(limit int, recovery time.Duration) *backoff {
	return &backoff{limit: float64(limit), recovery: recovery, entries: map[netip.Addr]*list.Element{}}
}

func (b *backoff) rate() float64 { return 1 / b.recovery.Seconds() }

// wait returns for how long an address is refused; 0 when it may come in.
func (b *backoff) wait(a netip.Addr, now time.Time) time.Duration {
	if b.limit < 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[a]
	if e == nil {
		return 0
	}
	const rounding = 1e-9 // tenths do not add up exactly
	over := e.Value.(*backoffEntry).bucket.now(now, b.rate()) - (b.limit - 1) - rounding
	return time.Duration(max(0, over) * float64(b.recovery))
}

// failed notes a connection that ended without authentication.
func (b *backoff) failed(a netip.Addr, weight float64, now time.Time) {
	if b.limit < 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(a, now)
	overdraft := maxOverdraft
	if !e.known.IsZero() && now.Sub(e.known) < knownFor {
		weight *= knownWeight
		overdraft *= knownWeight
	}
	level := e.bucket.now(now, b.rate())
	e.bucket.level = max(level, min(level+weight, b.limit-1+overdraft))
}

// succeeded forgets the failures of an address.
func (b *backoff) succeeded(a netip.Addr, now time.Time) {
	if b.limit < 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(a, now)
	e.bucket, e.known = bucket{at: now}, now
}

// entry finds or makes the entry of an address, and forgets what is not needed any more.
func (b *backoff) entry(a netip.Addr, now time.Time) *backoffEntry {
	if e := b.entries[a]; e != nil {
		b.order.MoveToFront(e)
		return e.Value.(*backoffEntry)
	}
	for last := b.order.Back(); last != nil; last = b.order.Back() {
		e := last.Value.(*backoffEntry)
		idle := e.bucket.now(now, b.rate()) == 0 && now.Sub(e.known) >= knownFor
		if !idle && len(b.entries) < maxBackoffs {
			break
		}
		b.order.Remove(last)
		delete(b.entries, e.address)
	}
	e := &backoffEntry{address: a, bucket: bucket{at: now}}
	b.entries[a] = b.order.PushFront(e)
	return e
}
