package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

type retryKey struct{}

// WithRetryTime returns a context whose requests are retried for that long while the API server does not answer. The default is a minute.
// The context's own deadline holds in any case.
func WithRetryTime(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, retryKey{}, d)
}

// transport retries requests that failed for a passing reason: the API server restarts, or its store elects a leader.
type transport struct {
	next     http.RoundTripper
	identity identity
}

// unreachable is the error of a request without a response.
type unreachable struct {
	identity
	err error
}

func (e *unreachable) Error() string { return e.err.Error() }
func (e *unreachable) Unwrap() error { return e.err }

// refused is the error of a response 401, with what is known of the credentials.
type refused struct{ identity }

func (e *refused) Error() string { return "Unauthorized" }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(q *http.Request) (*http.Response, error) {
	ctx := q.Context()
	limit, ok := ctx.Value(retryKey{}).(time.Duration)
	if !ok {
		limit = time.Minute
	}
	began := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		res, err := t.next.RoundTrip(q)
		if err == nil && res.StatusCode == http.StatusUnauthorized {
			_ = res.Body.Close()
			return nil, &refused{t.identity}
		}
		why := transient(q, res, err)
		if why == "" || ctx.Err() != nil || time.Since(began)+pause > limit {
			if err != nil && ctx.Err() == nil {
				err = &unreachable{t.identity, err}
			}
			return res, err
		}
		next := q.Clone(ctx)
		if q.Body != nil && q.Body != http.NoBody {
			if q.GetBody == nil {
				return res, err
			}
			if next.Body, err = q.GetBody(); err != nil {
				return nil, err
			}
		}
		if res != nil {
			_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
			_ = res.Body.Close()
		}
		if time.Since(began) > 500*time.Millisecond {
			app.NoticeOnce(ctx, "waiting for the API server (at most %s): %s", limit.Round(time.Second), why)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
		q = next
	}
}

// transient says why a request is worth a retry; "" where it is not. One that may have had an effect is retried only when it is
// idempotent.
func transient(q *http.Request, res *http.Response, err error) string {
	again := q.Method != http.MethodPost
	if err != nil {
		var op *net.OpError
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return "connection refused"
		case errors.As(err, &op) && op.Op == "dial" && !isNoHost(err):
			return op.Err.Error()
		case again && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
			strings.Contains(err.Error(), "http2: ") || strings.Contains(err.Error(), "server closed idle connection")):
			return "the connection broke"
		}
		return ""
	}
	switch res.StatusCode {
	case http.StatusServiceUnavailable:
		return "it answers 503"
	case http.StatusTooManyRequests:
		if res.Header.Get("Retry-After") == "" { // with it, client-go retries
			return "it answers 429"
		}
	case http.StatusInternalServerError, http.StatusForbidden:
		head, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
		text := string(head)
		switch {
		case strings.Contains(text, "etcdserver: ") && again:
			return "its store elects a leader"
		case strings.Contains(text, "failed calling webhook") && webhookAway(text): // the object was not stored: even a POST had no effect
			return "an admission webhook does not answer"
		case strings.Contains(text, "not yet ready to handle request"):
			return "it is starting"
		}
	}
	return ""
}

// webhookAway reports whether a webhook was not reached, as opposed to one that gave a wrong answer.
func webhookAway(text string) bool {
	for _, s := range []string{"connection refused", "no endpoints available", "context deadline exceeded", "connection reset", "EOF", "i/o timeout"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// isNoHost reports whether a name does not resolve, where waiting does not help.
func isNoHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
