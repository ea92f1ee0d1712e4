package dataplane

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// protocol is the HTTP version that a revision was found to speak. An app that speaks only HTTP/1, as most do, is never probed.
type protocol struct {
	speaks atomic.Int32 // for requests in general

	mu sync.Mutex // mu guards the following

	h2c   bool      // it takes HTTP/2 with prior knowledge
	asked time.Time // when it was last asked whether it does
}

// The values of protocol.speaks.
const (
	notKnown = iota
	speaksHTTP1
	speaksH2C
)

// askAgain is how long a "no" holds: the app may have been too busy to answer.
const askAgain = time.Second

// transportFor chooses how to send a request to an instance.
func (r *Revision) transportFor(ctx context.Context, in *Instance, q *http.Request) *http.Transport {
	if len(q.Header["Upgrade"]) > 0 { // HTTP/2 has none
		return in.http1
	}
	if in.h2c || r.protocol.speaks.Load() == speaksH2C {
		return in.http2()
	}
	if !r.opts.HTTP1 && isGRPC(q) && r.takesH2C(ctx, in) {
		return in.http2() // gRPC over anything else is of no use to both, also where the app speaks HTTP/1 as well
	}
	return in.http1
}

// settled notes that an instance answered in HTTP/1.
func (r *Revision) settled(in *Instance, t *http.Transport) {
	if t == in.http1 && r.protocol.speaks.Load() == notKnown {
		r.protocol.speaks.CompareAndSwap(notKnown, speaksHTTP1)
	}
}

// probeH2C reports whether an app that broke off a request in HTTP/1 speaks HTTP/2 with prior knowledge instead, as gRPC servers do. Such
// an app has done nothing with the request.
func (r *Revision) probeH2C(ctx context.Context, in *Instance, t *http.Transport) bool {
	if t != in.http1 || r.opts.HTTP1 || r.protocol.speaks.Load() != notKnown || !r.takesH2C(ctx, in) {
		return false
	}
	if r.protocol.speaks.CompareAndSwap(notKnown, speaksH2C) && r.opts.Learned != nil {
		r.opts.Learned()
	}
	return true
}

// takesH2C says whether the app takes HTTP/2 with prior knowledge. It is asked once; after a "no", at most once a second.
func (r *Revision) takesH2C(ctx context.Context, in *Instance) bool {
	p := &r.protocol
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.h2c || time.Since(p.asked) < askAgain {
		return p.h2c
	}
	p.h2c = greets(ctx, in.dial)
	p.asked = time.Now()
	return p.h2c
}

// preface is how a client begins HTTP/2 (RFC 9113, 3.4): with these octets and a SETTINGS frame, here an empty one.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// greets says whether a server answers the preface as a server of HTTP/2 must: with a SETTINGS frame.
func greets(ctx context.Context, dial Dial) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, preface); err != nil {
		return false
	}
	var head [9]byte // length (3), type, flags, stream (4)
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return false
	}
	return head[0] == 0 && head[3] == 4 && head[4]&1 == 0 && head[5]|head[6]|head[7]|head[8] == 0
}
