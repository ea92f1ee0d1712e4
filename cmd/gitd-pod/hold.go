package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

// Bounds of what is held, the first as on one machine.
const (
	mostHeld = 10000
	maxTold  = 64 << 10 // bytes of what gitd says at the end
)

// holder holds requests while an app is maintained. When gitd says which revisions serve, they go there, as the ingress would have sent them: to the revision's own
// name in the namespace, with the headers by which Knative's activator knows it. What the client has sent is not read before.
type holder struct {
	stream.Holding
	token   string
	address func(stream.Share) string // where a revision answers
	http1   http.RoundTripper
	http2   http.RoundTripper
	waiting atomic.Int64
	stop    chan struct{} // closed when the container ends

	mu     sync.Mutex // mu guards the following
	shares []stream.Share
	ended  chan struct{} // closed when there are shares
}

func newHolder(how stream.Holding, token string) *holder {
	dial := (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	one, two := &http.Protocols{}, &http.Protocols{}
	one.SetHTTP1(true)
	two.SetUnencryptedHTTP2(true)
	return &holder{Holding: how, token: token, address: serviceAddress,
		http1: &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 256, Protocols: one},
		http2: &http.Transport{DialContext: dial, DisableCompression: true, Protocols: two},
		stop:  make(chan struct{}), ended: make(chan struct{})}
}

// serviceAddress is that of the Service of Kubernetes that Knative makes for a revision; the one for HTTP/2 alone has another port.
func serviceAddress(to stream.Share) string {
	if to.HTTP2 {
		return to.Revision + ":81"
	}
	return to.Revision + ":80"
}

// hold serves until SIGTERM, and what is under way after it.
func hold(argument string) int {
	var how stream.Holding
	if err := json.Unmarshal([]byte(argument), &how); err != nil {
		fmt.Fprintln(os.Stderr, "gitd-pod: how to hold requests cannot be read:", err)
		return 2
	}
	h := newHolder(how, os.Getenv(stream.HoldVariable))
	both := &http.Protocols{}
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: h, Protocols: both, MaxHeaderBytes: pageHeaders, ReadHeaderTimeout: pageTime}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-term
		close(h.stop)
		_ = server.Shutdown(context.Background()) // the node bounds it
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "gitd-pod:", err)
		return 1
	}
	<-drained
	return 0
}

func (h *holder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if told := q.Header.Get(stream.HoldHeader); told != "" && h.token != "" && subtle.ConstantTimeCompare([]byte(told), []byte(h.token)) == 1 {
		h.end(w, q)
		return
	}
	if !h.wait(q) {
		h.refuse(w, q)
		return
	}
	h.pass(w, q)
}

// end takes where requests go from now on.
func (h *holder) end(w http.ResponseWriter, q *http.Request) {
	var shares []stream.Share
	total := int64(0)
	if err := json.NewDecoder(io.LimitReader(q.Body, maxTold)).Decode(&shares); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, s := range shares {
		total += s.Percent
	}
	if total <= 0 {
		http.Error(w, "the shares are nothing", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	if h.shares == nil {
		close(h.ended)
	}
	h.shares = shares
	h.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// wait returns true when gitd has said in time where requests go.
func (h *holder) wait(q *http.Request) bool {
	select {
	case <-h.ended:
		return true
	default:
	}
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > mostHeld {
		return false
	}
	timer := time.NewTimer(time.Duration(h.Seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-h.ended:
		return true
	case <-timer.C:
	case <-h.stop:
	case <-q.Context().Done():
	}
	return false
}

// refuse answers as the page does.
func (h *holder) refuse(w http.ResponseWriter, q *http.Request) {
	to := w.Header()
	kind, body := pageText(h.Service, strings.Contains(strings.Join(q.Header.Values("Accept"), ","), "text/html"))
	if strings.HasPrefix(q.Header.Get("Content-Type"), "application/grpc") {
		to.Set("Content-Type", "application/grpc")
		to.Set("Grpc-Status", "14") // UNAVAILABLE
		to.Set("Grpc-Message", strings.TrimSpace(body))
		return
	}
	to.Set("Content-Type", kind+"; charset=utf-8")
	to.Set("Retry-After", pageRetry)
	to.Set("Cache-Control", "no-store")
	to.Set("X-Content-Type-Options", "nosniff")
	to.Set("Connection", "close")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, body)
}

// pass sends a request on, as it came.
func (h *holder) pass(w http.ResponseWriter, q *http.Request) {
	to := h.draw()
	transport := h.http1
	if to.HTTP2 {
		transport = h.http2
	}
	w.Header()["Content-Type"] = nil // net/http guesses one otherwise, where the app gives none
	(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1, ErrorLog: log.New(os.Stderr, "gitd-pod: ", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			u := &url.URL{Scheme: "http", Host: h.address(to), Path: p.In.URL.Path, RawPath: p.In.URL.RawPath, RawQuery: p.In.URL.RawQuery, ForceQuery: p.In.URL.ForceQuery}
			if strings.HasPrefix(p.In.RequestURI, "/") && !strings.HasPrefix(p.In.RequestURI, "//") {
				path, _, _ := strings.Cut(p.In.RequestURI, "?")
				u.Opaque = path // byte for byte
			}
			p.Out.URL, p.Out.Host = u, p.In.Host
			for name, values := range p.In.Header {
				if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
					p.Out.Header[name] = values
				}
			}
			p.Out.Header.Set("Knative-Serving-Namespace", h.Namespace)
			p.Out.Header.Set("Knative-Serving-Revision", to.Revision)
			if p.In.Header.Get("User-Agent") == "" {
				p.Out.Header["User-Agent"] = nil
			}
		}}).ServeHTTP(w, q)
}

// draw picks a revision by the shares.
func (h *holder) draw() stream.Share {
	h.mu.Lock()
	defer h.mu.Unlock()
	total := int64(0)
	for _, s := range h.shares {
		total += s.Percent
	}
	at := rand.Int64N(total)
	for _, s := range h.shares {
		if at -= s.Percent; at < 0 {
			return s
		}
	}
	return h.shares[0]
}
