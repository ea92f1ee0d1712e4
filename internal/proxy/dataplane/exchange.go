package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	netproxy "knative.dev/networking/pkg/http/proxy"
	netstats "knative.dev/networking/pkg/http/stats"
	"knative.dev/serving/pkg/queue"
)

var (
	buffers    = netproxy.NewBufferPool()
	quiet      = log.New(io.Discard, "", 0)
	errTimeout = errors.New("the app did not answer in time")
)

// exchange is one request on its way to an instance and back.
type exchange struct {
	revision *Revision
	instance *Instance // the one that was picked last; holds one of its slots
	socket   *Instance // the one that an upgraded connection leads to
	slot     func()    // gives back the slot of the breaker; nil if there is none
	counted  bool      // among the requests that decide on the number of instances
	tally    bool      // its answer is still to be counted
	began    time.Time
	deadline time.Time
	trusted  bool
	header   http.Header // of the response to the client
	said     http.Header // what the proxy itself says in it
	cancel   context.CancelCauseFunc
	early    *passage // that has sent the request already
}

// serve proxies the request.
func (x *exchange) serve(w http.ResponseWriter, q *http.Request) {
	x.header = w.Header()
	if q.ContentLength != 0 {
		// An app may answer while it still reads. Without this, net/http throws away what an HTTP/1 client sends from then on.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	if x.plain(q) {
		x.direct(w, q)
		return
	}
	x.serveHTTP(w, q)
}

// serveHTTP proxies the request by net/http's client, or has it read the answer that came early.
func (x *exchange) serveHTTP(w http.ResponseWriter, q *http.Request) {
	if len(x.header) > 0 { // ReverseProxy would send it with an interim response, and have the last one without it
		x.said = maps.Clone(x.header)
		clear(x.header)
	}
	proxy := httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      x,
		BufferPool:     buffers,
		ErrorLog:       quiet,
		ModifyResponse: x.pass,
		ErrorHandler:   x.fail,
	}
	proxy.ServeHTTP(w, q)
}

// done releases what the exchange holds.
func (x *exchange) done() {
	x.leave()
	if x.socket != nil {
		x.socket.sockets.Add(-1)
	}
	x.uncount()
	if x.cancel != nil {
		x.cancel(nil)
	}
}

func (x *exchange) leave() {
	if x.instance != nil {
		x.instance.inflight.Add(-1)
		x.instance = nil
	}
}

// uncount ends the request for the limit on requests at once, and for the number of instances.
func (x *exchange) uncount() {
	if x.counted {
		x.counted = false
		x.revision.stats.HandleEvent(netstats.ReqEvent{Time: time.Now(), Type: netstats.ReqOut})
	}
	if x.slot != nil {
		x.slot()
		x.slot = nil
	}
}

// upgraded turns the request into a long, mostly idle connection: it no longer takes a slot, and does not count for the number of
// instances.
func (x *exchange) upgraded() {
	x.socket = x.instance
	x.socket.sockets.Add(1)
	x.leave()
	x.uncount()
}

// rewrite addresses the request to the instance. ReverseProxy has removed the hop-by-hop headers. The Host header stays: apps make
// links from it.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host = "http", "instance"
	keepTarget(p.Out, p.In)
	if strings.EqualFold(p.Out.Header.Get("Upgrade"), "h2c") { // an offer (curl --http2) that concerns this connection, and is not taken
		p.Out.Header.Del("Upgrade")
		p.Out.Header.Del("Connection")
	}
	if x.trusted { // ReverseProxy has removed them
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"} {
			if v := p.In.Header[name]; len(v) > 0 {
				p.Out.Header[name] = v
			}
		}
	}
	forward(p.In, p.Out, x.trusted)
	p.Out.Trailer = p.In.Trailer // the clone would miss the values, which arrive after the body
	if p.Out.Body != nil && p.Out.Body != http.NoBody {
		p.Out.Body = &trailing{p.Out.Body, p.In, x.trusted}
	}
}

// trailing is a request's body. Trailers come with its end; those of the names that no client may choose go, as among the headers.
type trailing struct {
	io.ReadCloser
	request *http.Request
	trusted bool
}

func (t *trailing) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if err == io.EOF {
		for name := range t.request.Trailer {
			if name == "Host" || refused(name, t.trusted) {
				delete(t.request.Trailer, name)
			}
		}
	}
	return n, err
}

// pass keeps net/http from adding to a response, and refuses a status that no client can be sent.
func (x *exchange) pass(r *http.Response) error {
	maps.Copy(x.header, x.said)
	if r.StatusCode != http.StatusSwitchingProtocols && (r.StatusCode < 200 || r.StatusCode > 999) {
		return fmt.Errorf("the app answered with the status %03d", r.StatusCode)
	}
	if len(r.Trailer) > 0 { // an HTTP/1 response that has trailers is a chunked one: an HTTP/2 origin may send a length as well
		r.Header.Del("Content-Length")
	}
	if _, ok := r.Header["Content-Type"]; !ok {
		x.header["Content-Type"] = nil // no guess: the client knows what it asked for
	}
	if _, ok := r.Header["Strict-Transport-Security"]; ok {
		delete(x.header, "Strict-Transport-Security") // the app's own counts
	}
	x.answered(statusOf(r))
	return nil
}

// RoundTrip sends the request to an instance, and to another one where the first cannot be reached. The deadline covers
// what happens until the response begins: a stream may go on for longer.
func (x *exchange) RoundTrip(q *http.Request) (*http.Response, error) {
	if x.early != nil {
		return x.early.response(q)
	}
	ctx, cancel := context.WithCancelCause(q.Context())
	x.cancel = cancel
	if !x.deadline.IsZero() {
		t := time.AfterFunc(time.Until(x.deadline), func() { cancel(errTimeout) })
		defer t.Stop()
	}
	q = q.WithContext(ctx)
	source := q.Body
	var failed *Instance
	for attempt := 0; ; attempt++ {
		in, err := x.revision.pick(ctx, failed)
		if err != nil {
			return nil, err
		}
		x.instance = in
		var body *onceBody
		if source != nil && source != http.NoBody {
			body = &onceBody{ReadCloser: source}
			q.Body = body
		}
		transport := x.revision.transportFor(ctx, in, q)
		res, err := transport.RoundTrip(q)
		if err == nil {
			x.revision.settled(in, transport)
			if res.StatusCode == http.StatusSwitchingProtocols {
				x.upgraded()
			}
			return res, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if attempt >= 100 {
			return nil, err
		}
		if x.revision.probeH2C(ctx, in, transport) && (body == nil || body.takeBack()) {
			x.leave()
			continue
		}
		if !x.again(q, err, body) {
			return nil, err
		}
		x.leave()
		failed = in
		if attempt > 0 { // the instance has just died, or its queue of connections is full: it is seen in a moment
			select {
			case <-time.After(min(time.Duration(attempt)*2*time.Millisecond, 100*time.Millisecond)):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
}

// again says whether the request can be sent once more: nothing of it reached the app. That is so after a failed dial, and
// where the connection broke before the body was touched, since headers leave together with its beginning. Requests
// without a body on a connection that had gone stale are repeated by the Transport itself.
func (x *exchange) again(q *http.Request, err error, body *onceBody) bool {
	var unreachable *dialError
	if errors.As(err, &unreachable) {
		return body == nil || body.takeBack()
	}
	return body != nil && q.Header.Get("Expect") == "" && body.takeBack()
}

// fail answers a request that got no response, with the reason and what can be done.
func (x *exchange) fail(w http.ResponseWriter, q *http.Request, err error) {
	maps.Copy(w.Header(), x.said)
	var failing *failingError
	var unreachable *dialError
	app := x.revision.opts.title()
	switch {
	case errors.Is(err, errTimeout) && x.instance == nil:
		w.Header().Set("Retry-After", "5")
		x.refuse(w, q, http.StatusGatewayTimeout, app+" had no instance free within "+x.revision.opts.Timeout.String()+": try again in a moment")
	case errors.Is(err, errTimeout):
		x.refuse(w, q, http.StatusGatewayTimeout, app+" did not answer within "+x.revision.opts.Timeout.String()+": try again, or tell its owner")
	case errors.Is(err, queue.ErrRequestQueueFull):
		w.Header().Set("Retry-After", "1")
		x.refuse(w, q, http.StatusServiceUnavailable, app+" has too many requests waiting: try again in a moment")
	case errors.As(err, &failing):
		w.Header().Set("Retry-After", "5")
		x.refuse(w, q, http.StatusServiceUnavailable, app+" "+failing.sentence)
	case q.Context().Err() != nil:
		x.answered(499)
		w.WriteHeader(499) // the client went away, and nothing reads it
	case errors.As(err, &unreachable):
		x.refuse(w, q, http.StatusBadGateway, app+" does not accept connections: try again in a moment; its log may say why")
	case x.late(q):
		x.refuse(w, q, http.StatusGatewayTimeout, app+" did not answer in the time that the call has")
	default:
		x.refuse(w, q, http.StatusBadGateway, app+" closed the connection before it answered: its log may say why")
	}
}

// refuse answers in place of the app.
func (x *exchange) refuse(w http.ResponseWriter, q *http.Request, status int, sentence string) {
	x.answered(status)
	refuse(w, q, status, sentence)
}

// answered counts the answer, which begins now.
func (x *exchange) answered(status int) {
	if x.tally {
		x.tally = false
		x.revision.counters.count(status, time.Since(x.began))
	}
}

// late says whether a call of gRPC has run out of the time that its client gave it.
func (x *exchange) late(q *http.Request) bool {
	limit := grpcTimeout(q)
	return limit > 0 && time.Since(x.began) >= limit-limit/10 // the app's clock started a little later, and its timer need not wait for ours
}

// onceBody is the request's body for one attempt. It can be taken back as long as nothing was read: a Transport may hold
// on to it after it has returned. Close is left to the server: a Transport that could not dial closes the body, and the next
// attempt still needs it.
type onceBody struct {
	io.ReadCloser
	state atomic.Int32
}

// The states of a onceBody.
const (
	untouched = iota
	touched
	takenBack
)

func (b *onceBody) takeBack() bool { return b.state.CompareAndSwap(untouched, takenBack) }

func (b *onceBody) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(untouched, touched) && b.state.Load() == takenBack {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.ReadCloser.Read(p)
}

func (b *onceBody) Close() error { return nil }
