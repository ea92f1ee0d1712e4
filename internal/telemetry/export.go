package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Bounds of sending spans.
const (
	queuedSpans  = 4096 // those beyond are dropped
	batchedSpans = 512
	batchTime    = time.Second // how long the first span of a batch waits for others
	sendTime     = 10 * time.Second
	lastTime     = 3 * time.Second // for what is left when the server stops
	mostTries    = 4               // of a batch
	longestPause = 30 * time.Second
)

// Collector is where spans go.
type Collector struct {
	URL      string            // of the traces: http://collector:4318/v1/traces
	Headers  map[string]string // for its credentials
	Timeout  time.Duration     // of one request; 0 for 10 s
	Resource []Attribute       // what is known of this process
	Version  string            // of gitd
	Log      func(format string, args ...any)
	Metrics  Traces
}

// exporter sends spans in the background.
type exporter struct {
	c       Collector
	client  *http.Client
	queue   chan *Span
	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once
	broken  atomic.Bool // it was said that the collector takes nothing
}

// NewTracer returns a Tracer that sends to a collector until Close.
func NewTracer(c Collector) *Tracer {
	if c.Timeout <= 0 {
		c.Timeout = sendTime
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute, DisableCompression: true}
	e := &exporter{c: c, queue: make(chan *Span, queuedSpans), stop: make(chan struct{}), stopped: make(chan struct{}),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	go e.run()
	return &Tracer{e}
}

// Close sends what is left, for at most a few seconds.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	t.exporter.once.Do(func() { close(t.exporter.stop) })
	<-t.exporter.stopped
	return nil
}

// take puts a span into the queue. It never waits.
func (e *exporter) take(s *Span) {
	select {
	case e.queue <- s:
	default:
		e.c.Metrics.Dropped.Inc("queue")
	}
}

// run sends what is in the queue, in batches.
func (e *exporter) run() {
	defer close(e.stopped)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-e.stop
		cancel()
	}()
	for {
		var batch []*Span
		select {
		case s := <-e.queue:
			batch = append(batch, s)
		case <-e.stop:
			e.last()
			return
		}
		if !e.fill(&batch) {
			e.last(batch...)
			return
		}
		if !e.send(ctx, batch) {
			e.last(batch...)
			return
		}
	}
}

// fill adds spans to a batch for a while. It returns false when the server stops.
func (e *exporter) fill(batch *[]*Span) bool {
	enough := time.NewTimer(batchTime)
	defer enough.Stop()
	for len(*batch) < batchedSpans {
		select {
		case s := <-e.queue:
			*batch = append(*batch, s)
		case <-enough.C:
			return true
		case <-e.stop:
			return false
		}
	}
	return true
}

// last sends what is left, once.
func (e *exporter) last(batch ...*Span) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	for {
		select {
		case s := <-e.queue:
			batch = append(batch, s)
			continue
		default:
		}
		break
	}
	for len(batch) > 0 {
		n := min(len(batch), batchedSpans)
		if _, err := e.post(ctx, batch[:n]); err != nil {
			e.drop(len(batch), err)
			return
		}
		e.c.Metrics.Exported.Add(int64(n))
		batch = batch[n:]
	}
}

// send sends a batch, again where the collector may take it later. It returns false, with the batch not sent, when the server stops.
func (e *exporter) send(ctx context.Context, batch []*Span) bool {
	pause := time.Second
	for try := 1; ; try++ {
		again, err := e.post(ctx, batch)
		if err == nil {
			e.c.Metrics.Exported.Add(int64(len(batch)))
			if e.broken.Swap(false) {
				e.c.Log("traces: the collector takes spans again")
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if again < 0 || try == mostTries {
			e.drop(len(batch), err)
			return true
		}
		select {
		case <-time.After(min(max(again, pause), longestPause)):
		case <-ctx.Done():
			return false
		}
		pause *= 2
	}
}

// drop counts spans that are lost, and says so once until the collector takes some again.
func (e *exporter) drop(n int, err error) {
	e.c.Metrics.Dropped.Add(int64(n), "collector")
	if !e.broken.Swap(true) {
		e.c.Log("traces: spans are dropped until the collector takes them: %v", err)
	}
}

// post sends a batch once. Where it may be tried again, it returns after how long, 0 for the sender to choose; else a negative time.
func (e *exporter) post(ctx context.Context, batch []*Span) (again time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.c.Timeout)
	defer cancel()
	body := appendSpans(nil, e.c.Resource, e.c.Version, batch)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.c.URL, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	for k, v := range e.c.Headers {
		r.Header.Set(k, v)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "gitd/"+e.c.Version)
	res, err := e.client.Do(r)
	if err != nil {
		return 0, plainError(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch {
	case res.StatusCode/100 == 2:
		return 0, nil
	case res.StatusCode == 429 || res.StatusCode == 502 || res.StatusCode == 503 || res.StatusCode == 504:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		again = time.Duration(min(max(seconds, 0), int(longestPause/time.Second))) * time.Second
	default:
		again = -1
	}
	return again, fmt.Errorf("%s answers %s", shown(e.c.URL), res.Status)
}

// plainError is an error of a request without what the URL may have of credentials.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("%s: %w", shown(u.URL), u.Err)
	}
	return err
}

// shown is a URL for people: without credentials and query.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the collector"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// tracesPath is where a collector takes traces.
const tracesPath = "/v1/traces"

// NewCollector says where spans go: to the address that is configured, else to the one that OpenTelemetry's own variables in environ have. The URL is "" where there is
// none. Headers, time limit and resource come from the variables. It returns an *app.Error that names what is wrong.
func NewCollector(configured string, environ []string) (c Collector, err error) {
	env := map[string]string{}
	for _, kv := range environ {
		if name, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, "OTEL_") {
			env[name] = strings.TrimSpace(v)
		}
	}
	of := func(name string) string { // what is said of traces alone comes first
		if v := env["OTEL_EXPORTER_OTLP_TRACES_"+name]; v != "" {
			return v
		}
		return env["OTEL_EXPORTER_OTLP_"+name]
	}
	source := "--otlp"
	switch off := strings.EqualFold(env["OTEL_SDK_DISABLED"], "true") || env["OTEL_TRACES_EXPORTER"] == "none"; {
	case configured != "":
		c.URL, err = endpoint(configured, true)
	case off:
		return c, nil
	case env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] != "":
		source = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
		c.URL, err = endpoint(env[source], false)
	case env["OTEL_EXPORTER_OTLP_ENDPOINT"] != "":
		source = "OTEL_EXPORTER_OTLP_ENDPOINT"
		c.URL, err = endpoint(env[source], true)
	default:
		return c, nil
	}
	if err != nil {
		return c, app.Errorf(app.CodeInvalidInput, "give one such as http://127.0.0.1:4318", "%s: %w", source, err)
	}
	if c.Headers, err = pairs(of("HEADERS")); err != nil {
		return c, app.Errorf(app.CodeInvalidInput, "give them as name=value,name=value", "OTEL_EXPORTER_OTLP_HEADERS: %w", err)
	}
	if ms, err := strconv.Atoi(of("TIMEOUT")); err == nil && ms > 0 {
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	resource, err := pairs(env["OTEL_RESOURCE_ATTRIBUTES"])
	if err != nil {
		return c, app.Errorf(app.CodeInvalidInput, "give them as name=value,name=value", "OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if name := env["OTEL_SERVICE_NAME"]; name != "" {
		resource["service.name"] = name
	}
	if resource["service.name"] == "" {
		resource["service.name"] = "gitd"
	}
	for k, v := range resource {
		c.Resource = append(c.Resource, Attribute{k, v})
	}
	return c, nil
}

// endpoint is the URL of a collector's traces: base says that it is to be made of its address.
func endpoint(text string, base bool) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%q is not the http or https URL of a collector", app.Clip(app.Plain(shown(text)), 100))
	}
	if base && !strings.HasSuffix(u.Path, tracesPath) {
		u.Path = strings.TrimSuffix(u.Path, "/") + tracesPath
	}
	return u.String(), nil
}

// pairs reads name=value,name=value, with values as in URLs.
func pairs(text string) (map[string]string, error) {
	all := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		v, err := url.PathUnescape(strings.TrimSpace(v))
		if k = strings.TrimSpace(k); !ok || err != nil || k == "" {
			return nil, errors.New("it is not a list of pairs") // without its text: it may be a credential
		}
		all[k] = v
	}
	return all, nil
}
