package dataplane

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// passage is a request on its way over a link, in HTTP/1.1, and the head of the answer. The goroutine that serves the client writes the one and reads the other.
type passage struct {
	x      *exchange
	client waiting
	out    []byte // the request's head, and of its body what is known already
	body   *upload
	toHEAD bool
	again  bool // a request that may be sent twice: RFC 9110, 9.2.2

	link   *link
	answer head
	length int  // of the answer's head, which is the beginning of the link's buffer
	odd    bool // the head is left to net/http
}

// waiting is the client, while a passage waits for an app.
type waiting interface {
	// context ends when the client goes away, or at the exchange's deadline.
	context() context.Context
	// watch has the link closed when the client goes away; rest ends that. rest returns why the client went, if it did.
	watch(l *link)
	rest() error
	// fill reads more of the answer's head. begin is called before the first time.
	begin(l *link)
	fill(l *link) error
}

// run sends the request to an instance, and to another one where nothing of it can have reached the first. When it returns without an error, the answer's head
// is there, or odd.
func (p *passage) run() error {
	x := p.x
	var failed *Instance
	for attempt := 0; ; attempt++ {
		in, err := p.pick(failed)
		if err != nil {
			return err
		}
		x.instance = in
		if in.h2c {
			return errNotHTTP1
		}
		l, err := in.link(p.client.context, time.Now())
		if err == nil {
			p.link = l
			p.client.watch(l)
			if err = p.exchange(); err == nil {
				return nil
			}
			gone := p.client.rest()
			_ = l.Close()
			p.link = nil
			if gone != nil {
				return gone
			}
		} else if e := p.client.context().Err(); e != nil {
			return context.Cause(p.client.context())
		}
		if isTimeout(err) && !x.deadline.IsZero() && !time.Now().Before(x.deadline) {
			return errTimeout
		}
		stale := errors.Is(err, errStale)
		if attempt >= 100 || !stale && !isDial(err) {
			return err
		}
		x.leave()
		if stale {
			continue
		}
		failed = in
		if attempt > 0 { // the instance has just died, or its queue of connections is full: it is seen in a moment
			select {
			case <-time.After(min(time.Duration(attempt)*2*time.Millisecond, 100*time.Millisecond)):
			case <-p.client.context().Done():
				return context.Cause(p.client.context())
			}
		}
	}
}

// pick takes a slot on an instance, without a context where there is one at once.
func (p *passage) pick(not *Instance) (*Instance, error) {
	if not == nil {
		if in := p.x.revision.try(*p.x.revision.instances.Load(), nil); in != nil {
			return in, nil
		}
	}
	return p.x.revision.pick(p.client.context(), not)
}

var (
	// errStale: the app closed a link that waited, and has done nothing with the request.
	errStale = errors.New("the app closed a connection that waited")
	// errNotHTTP1: the instance is spoken to in another protocol.
	errNotHTTP1 = errors.New("the instance speaks HTTP/2")
)

func isDial(err error) bool {
	var unreachable *dialError
	return errors.As(err, &unreachable)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// exchange sends the request over the link, and reads the head of the answer.
func (p *passage) exchange() error {
	l := p.link
	if len(p.out) > streamSize && !p.x.deadline.IsZero() { // an app that does not read
		_ = l.SetWriteDeadline(p.x.deadline)
		defer func() { _ = l.SetWriteDeadline(time.Time{}) }() // the link's next request has another
	}
	if n, err := l.Conn.Write(p.out); err != nil {
		if l.reused && (n == 0 || p.again) {
			return errStale
		}
		if errors.Is(err, net.ErrClosed) || isTimeout(err) { // else it may have answered before it read all
			return err
		}
	}
	if p.body != nil {
		p.body.start(l.Conn)
	}
	p.client.begin(l)
	for looked := 0; ; {
		if err := p.client.fill(l); err != nil {
			if l.to == 0 && l.reused && p.again && !isTimeout(err) && !errors.Is(err, errGone) {
				return errStale
			}
			p.odd = l.to > 0 && errors.Is(err, io.EOF)
			if p.odd {
				return nil
			}
			return err
		}
		b := l.buffer[:l.to]
		if p.length = end(b, looked); p.length > 0 {
			break
		}
		bare := bareLF(b, looked)
		if looked = len(b); looked >= mostHead || b[0] != 'H' || bare {
			p.odd = true
			return nil
		}
	}
	if !p.answer.parseResponse(l.buffer[:p.length]) {
		p.odd = true
		return nil
	}
	l.from = p.length
	return nil
}

// end gives the link back where it can carry another request: the answer was read to its end, and the request was sent.
func (p *passage) end(clean bool) {
	l := p.link
	if l == nil {
		return
	}
	p.link = nil
	gone := p.client.rest() != nil
	if !clean || gone || p.answer.close || p.body != nil && !p.body.sent() {
		_ = l.Close()
		l.shrink()
		return
	}
	l.giveBack(time.Now())
}
