package local

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/proxy/dataplane"
)

// Inside answers requests that gitd makes itself, such as deliveries of events: they need not come by HTTPS, and what they say of a client is not passed on.
func (p *Platform) Inside(w http.ResponseWriter, r *http.Request) {
	p.plane.ServeHTTP(w, r.WithContext(dataplane.WithMark(r.Context())))
}

// Send implements deploy.Platform. The request goes through the whole data plane, without a connection of its own.
func (p *Platform) Send(ctx context.Context, service string, r *http.Request) (*http.Response, error) {
	p.mu.RLock()
	known := p.services[service] != nil
	p.mu.RUnlock()
	if !known {
		return nil, fmt.Errorf("service %s: %w", service, deploy.ErrNotFound)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r = r.Clone(ctx)
	r.URL.Scheme, r.URL.Host = "http", service+"."+p.opts.Domain
	r.Host, r.RequestURI, r.RemoteAddr = r.URL.Host, r.URL.RequestURI(), "127.0.0.1:0"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, out := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: out, answered: make(chan *http.Response, 1)}
	go func() {
		defer cancel(nil)
		defer func() {
			v := recover()
			if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // it is that very value
				panic(v)
			}
			w.end(v != nil)
		}()
		p.Inside(w, r)
	}()
	select {
	case a := <-w.answered:
		if a == nil {
			return nil, fmt.Errorf("service %s: no answer: %w", service, io.ErrUnexpectedEOF)
		}
		a.Request, a.Body = r, &pipeBody{body, cancel}
		return a, nil
	case <-ctx.Done():
		body.CloseWithError(context.Cause(ctx))
		return nil, context.Cause(ctx)
	}
}

// pipeBody is the body of an answer. Closing it ends the request.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelCauseFunc
}

func (b *pipeBody) Close() error {
	b.cancel(nil)
	return b.PipeReader.Close()
}

// pipeWriter makes an answer of what a handler writes, as it comes.
type pipeWriter struct {
	header   http.Header
	body     *io.PipeWriter
	answered chan *http.Response // gets nil where the handler ends without an answer
	once     sync.Once
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if status < 200 { // informational
		return
	}
	w.once.Do(func() {
		w.answered <- &http.Response{
			Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: w.header.Clone(), ContentLength: -1,
		}
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush lets a streaming answer through.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

// end ends the answer; cut says that it is not complete.
func (w *pipeWriter) end(cut bool) {
	w.once.Do(func() {
		if cut {
			w.answered <- nil
			return
		}
		w.answered <- &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header.Clone(), ContentLength: 0}
	})
	if cut {
		w.body.CloseWithError(io.ErrUnexpectedEOF)
		return
	}
	w.body.Close()
}
