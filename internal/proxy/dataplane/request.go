package dataplane

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	netstats "knative.dev/networking/pkg/http/stats"
)

// errNotPlain: net/http serves the request.
var errNotPlain = errors.New("not a plain request")

// begun is a request that a session has begun to serve, and net/http's server goes on with: serve is called with it, or drop when that cannot be.
type begun struct {
	serve func(http.ResponseWriter, *http.Request)
	drop  func()
}

// request is what a client's head says.
type request struct {
	head
	method, target []byte
}

// parse reads a request's head. It returns false for what is not plain, by the rules of exchange.plain.
func (r *request) parse(b []byte) bool {
	i := 0
	for i < len(b) && isToken[b[i]] {
		i++
	}
	if i == 0 || b[i] != ' ' {
		return false
	}
	r.method, b = b[:i], b[i+1:]
	const version = " HTTP/1.1\r\n"
	if i = bytes.IndexByte(b, ' '); i < 0 || len(b) < i+len(version) || string(b[i:i+len(version)]) != version {
		return false
	}
	r.target, b = b[:i], b[i+len(version):]
	if string(r.method) == http.MethodConnect || !plainTarget(r.target) || !r.parseFields(b) {
		return false
	}
	return r.has&(hasOther|hasEncoding|hasHost) == hasHost && (r.has&hasPragma == 0 || r.has&hasCache != 0)
}

// place is what a session has found about a host, and by what.
type place struct {
	plane        *Plane
	table        *Table
	certificates *Certificates
	host         []byte
	split        Split // nil: net/http knows what to do
	trusted      bool  // the client is a proxy whose word counts
	hsts         string
}

// find finds the split of the host that the request asks for.
func (s *session) find() Split {
	p := s.server.plane()
	t, c, at := p.table.Load(), (*Certificates)(nil), &s.at
	if p.secure != nil {
		c = p.secure.table.Load()
	}
	if at.plane == p && at.table == t && at.certificates == c && bytes.Equal(at.host, s.asks.host) {
		return at.split
	}
	*at = place{plane: p, table: t, certificates: c, host: append(at.host[:0], s.asks.host...)}
	name := host(string(at.host))
	known, split := t.find(name)
	if len(split) == 0 || p.own[name] != nil || t.Stopped[known] != "" || t.Maintenance[known] != nil || len(split) > 1 && t.Sticky[known] {
		return nil
	}
	at.trusted = p.trusts(s.client.RemoteAddr().String())
	switch tls := s.secure; {
	case p.secure != nil && tls != nil:
		if !at.trusted && !p.secure.same(tls.ServerName, name) {
			return nil
		}
		at.hsts = p.secure.hsts
	case p.secure != nil && (len(c.Tokens) > 0 || p.secure.moves(known, name)):
		return nil
	}
	at.split = split
	return split
}

// request serves the request that begins in the buffer. With errNotPlain it is left to net/http, as b says; any other error ends the connection.
func (s *session) request() (b *begun, err error) {
	n, err := s.head()
	if err != nil {
		return nil, err
	}
	if !s.asks.parse(s.buffer[s.from : s.from+n]) {
		return nil, errNotPlain
	}
	all := n
	if length := s.asks.length; length > 0 {
		if length > mostHead || s.asks.has&hasEncoding != 0 {
			return nil, errNotPlain
		}
		if all += int(length); !s.whole(all) {
			return nil, errNotPlain
		}
		if &s.buffer[s.from] != &s.asks.method[0] {
			s.asks.parse(s.buffer[s.from : s.from+n]) // it was moved
		}
	}
	split := s.find()
	if split == nil {
		return nil, errNotPlain
	}
	c := s.client
	c.requests.Add(1)
	here, every := c.peer.requests.Add(1), c.front.requests.Add(1)
	defer func() {
		c.since.Store(time.Now().UnixNano())
		c.requests.Add(-1)
		c.peer.requests.Add(-1)
		c.front.requests.Add(-1)
	}()
	if l := &c.front.limits; l.PerAddress > 0 && !c.peer.proxy && here > int64(l.PerAddress) || l.Connections > 0 && every > int64(l.Connections) {
		return nil, errNotPlain
	}
	r := split.pick()
	if !r.hold() {
		return nil, errNotPlain
	}
	return s.pass(r, s.buffer[s.from+n:s.from+all], all)
}

// speaksPlainly says whether requests go to the revision's instances in HTTP/1.1.
func (r *Revision) speaksPlainly() bool {
	speaks := r.protocol.speaks.Load()
	return !r.netHTTP && !r.opts.NoWeb && (speaks == speaksHTTP1 || speaks == notKnown && r.opts.HTTP1)
}

// pass sends the request to an instance of r, which is held, and the answer to the client. all is the request's length.
func (s *session) pass(r *Revision, body []byte, all int) (*begun, error) {
	done, trusted := false, s.at.trusted // done with the request, and with the revision
	defer func() {
		if !done { // a panic
			s.x.done()
			r.release()
		}
	}()
	untouched := func() (*begun, error) {
		s.x.done()
		done = true
		return &begun{drop: r.release, serve: func(w http.ResponseWriter, q *http.Request) {
			defer r.release()
			r.serve(w, q, trusted, true)
		}}, errNotPlain
	}
	s.x = exchange{revision: r, trusted: trusted}
	if !r.speaksPlainly() {
		return untouched()
	}
	start := time.Now()
	r.stats.HandleEvent(netstats.ReqEvent{Time: start, Type: netstats.ReqIn})
	s.x.began, s.x.deadline, s.x.counted, s.answers = start, r.deadline(start), true, false
	if r.breaker != nil {
		release, ok := r.breaker.Reserve(context.Background())
		if !ok {
			return untouched()
		}
		s.x.slot = release
	}
	s.x.tally = true
	s.prepare(body)
	err := s.run()
	if errors.Is(err, errNotPlain) {
		return untouched()
	}
	if err != nil && !errors.Is(err, errGone) || s.p.odd {
		done = true
		return s.half(r, err), errNotPlain
	}
	if err != nil {
		s.x.answered(499)
	} else {
		s.from += all
		err = s.answer()
	}
	s.p.end(err == nil)
	s.x.done()
	r.release()
	if done = true; err == nil {
		err = s.flush()
	}
	if s.giveBack(); err == nil && s.closes {
		err = errLast
	}
	return nil, err
}

// errLast: the connection ends with the answer.
var errLast = errors.New("the last request of its connection")

// half leaves a request to net/http that the app has, with the answer that the link has the beginning of, or with the error.
func (s *session) half(r *Revision, err error) *begun {
	x, p := &s.x, &s.p
	s.giveBack()
	finish := func() {
		p.end(false)
		x.done()
		r.release()
	}
	return &begun{drop: finish, serve: func(w http.ResponseWriter, q *http.Request) {
		client := &served{q: q, deadline: x.deadline}
		p.client, x.header = client, w.Header()
		defer func() {
			finish()
			if client.cancel != nil {
				client.cancel()
			}
		}()
		if err != nil {
			x.fail(w, q, err)
			return
		}
		client.watch(p.link)
		client.begin(p.link)
		x.early = p
		x.serveHTTP(w, q)
	}}
}

// prepare makes the passage, with the request as the app gets it.
func (s *session) prepare(body []byte) {
	q := &s.asks
	s.spare = heads.Get().(*[]byte)
	b := append(append(append((*s.spare)[:0], q.method...), ' '), q.target...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), q.host...), '\r', '\n')
	for _, f := range q.fields {
		if specials[string(f.name)]&(hasLength|hasConnection|hasHop|hasHost) != 0 {
			continue
		}
		if yes, underscore := aboutClient(f.name); yes && (!s.at.trusted || underscore || retold(string(f.name))) {
			continue
		}
		b = append(append(append(append(b, f.name...), ": "...), f.value...), '\r', '\n')
	}
	if q.length > 0 || wantsLength(string(q.method)) {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), max(q.length, 0), 10), '\r', '\n')
	}
	s.out = append(append(s.appendForwarded(b), '\r', '\n'), body...)
	p := &s.p
	*p = passage{x: &s.x, client: s, out: s.out, toHEAD: string(q.method) == http.MethodHead, answer: head{fields: p.answer.fields}}
	p.again = len(body) == 0 && (isSafe(q.method) || q.isKeyed())
}

// appendForwarded appends what the app is told of the client, as forward has it.
func (s *session) appendForwarded(b []byte) []byte {
	q := &s.asks
	if s.at.trusted {
		in := http.Request{Host: string(q.host), RemoteAddr: s.client.RemoteAddr().String(), TLS: s.secure, Header: http.Header{}}
		for _, f := range q.fields {
			if n := string(f.name); retold(n) {
				in.Header.Add(n, string(f.value))
			}
		}
		return appendRetold(b, &in)
	}
	return appendClient(b, s.told, q.host, s.secure != nil)
}

// giveBack returns the buffer of out.
func (s *session) giveBack() {
	if s.spare != nil && cap(s.out) <= 2*streamSize {
		*s.spare = s.out
		heads.Put(s.spare)
	}
	s.spare, s.out = nil, nil
}

// isKeyed says whether the app knows the request by a key when it comes again.
func (q *request) isKeyed() bool {
	for _, f := range q.fields {
		if n := string(f.name); n == "Idempotency-Key" || n == "X-Idempotency-Key" {
			return true
		}
	}
	return false
}

// run sends the request, and reads the head of the answer. errNotPlain says that none of it has reached an app.
func (s *session) run() error {
	x, p := &s.x, &s.p
	for range 100 {
		in := x.revision.try(*x.revision.instances.Load(), nil)
		if in == nil {
			break
		}
		x.instance = in
		if in.h2c {
			break
		}
		l, err := in.link(s.context, x.began)
		if err != nil {
			break
		}
		p.link = l
		if err = p.exchange(); err == nil {
			return nil
		}
		_ = l.Close()
		p.link = nil
		if isTimeout(err) {
			return errTimeout
		}
		if !errors.Is(err, errStale) {
			return err
		}
		x.leave()
	}
	s.giveBack()
	return errNotPlain
}
