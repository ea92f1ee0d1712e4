package telemetry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gitd-io/gitd/internal/app"
)

const parentText = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParseTraceparent(t *testing.T) {
	for text, ok := range map[string]bool{
		parentText: true, strings.Replace(parentText, "-01", "-00", 1): true, "cc" + parentText[2:] + "-more": true, "cc" + parentText[2:]: true,
		"": false, parentText + "-more": false, "ff" + parentText[2:]: false, strings.ToUpper(parentText): false, "00-" + strings.Repeat("0", 32) + parentText[35:]: false,
		strings.Replace(parentText, "b7ad6b7169203331", strings.Repeat("0", 16), 1): false, parentText[1:]: false, strings.Replace(parentText, "0af", "0ag", 1): false, "00---01": false,
	} {
		p, err := ParseTraceparent(text)
		if (err == nil) != ok || ok && (p.Trace.String() != "0af7651916cd43dd8448eb211c80319c" || p.Sampled != !strings.HasSuffix(text, "-00")) {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
	}
	for text, ok := range map[string]bool{"a=1": true, "a@b=x y,c=2": true, "": true, "a": false, "A=1": false, "a=\x01": false, strings.Repeat("a=1,", 40): false, "a=" + strings.Repeat("x", 600): false} {
		if err := CheckTracestate(text); (err == nil) != ok {
			t.Errorf("tracestate %q: %v", text, err)
		}
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add(parentText)
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParseTraceparent(text); err == nil && (p.Trace == TraceID{} || p.Span == SpanID{} || len(text) < len(parentText)) {
			t.Errorf("%q: %+v", text, p)
		}
	})
}

// receiver is a collector: it reads with the official types.
type receiver struct {
	*httptest.Server
	spans   chan *tracev1.Span
	headers chan http.Header
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{spans: make(chan *tracev1.Span, 10000), headers: make(chan http.Header, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &request)
		}
		if err != nil || q.URL.Path != "/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Error(q.URL, err)
		}
		r.headers <- q.Header
		for _, of := range request.ResourceSpans {
			if len(of.Resource.Attributes) == 0 || len(of.ProtoReflect().GetUnknown()) > 0 {
				t.Errorf("%v", of)
			}
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					if len(s.ProtoReflect().GetUnknown()) > 0 {
						t.Errorf("%v", s)
					}
					r.spans <- s
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func attribute(s *tracev1.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return strings.TrimSuffix(strings.TrimPrefix(a.Value.String(), "string_value:\""), "\"")
		}
	}
	return ""
}

// A run, a task and what is told after its end arrive as one tree under the client's span.
func TestExport(t *testing.T) {
	to := newReceiver(t)
	c, err := NewCollector(to.URL, []string{"OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b"})
	if err != nil {
		t.Fatal(err)
	}
	tracer := NewTracer(c)
	parent, err := ParseTraceparent(parentText)
	if err != nil {
		t.Fatal(err)
	}
	parent.State = "a=1"
	began := time.Now().Add(-time.Minute)
	ctx, run := tracer.StartRun(t.Context(), parent, "shop", began, Attribute{KeyCommit, "abc"}, Attribute{"empty", ""}, Attribute{"n", 7}, Attribute{"yes", false})
	of, task := StartTask(ctx, "build", TaskBuild)
	Task(of, "detect", "", began, nil)
	wrong := app.Wrap(errors.New("secret detail"), app.CodeBuildFailed, "look", "go build \x1b failed")
	task.EndTask(wrong)
	run.EndRun(wrong)
	run.EndRun(nil) // the first end counts
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	if h := (<-to.headers).Get("X-Key"); h != "a b" {
		t.Error(h)
	}
	got := map[string]*tracev1.Span{}
	for range 3 {
		s := <-to.spans
		got[s.Name] = s
	}
	root, build, detect := got["RUN shop"], got["build"], got["detect"]
	if root == nil || build == nil || detect == nil {
		t.Fatalf("%v", got)
	}
	if string(root.TraceId) != string(parent.Trace[:]) || string(root.ParentSpanId) != string(parent.Span[:]) || root.TraceState != "a=1" || root.Kind != tracev1.Span_SPAN_KIND_SERVER ||
		root.StartTimeUnixNano != uint64(began.UnixNano()) || string(build.ParentSpanId) != string(root.SpanId) || string(detect.ParentSpanId) != string(build.SpanId) {
		t.Errorf("%v", got)
	}
	if attribute(root, "cicd.pipeline.result") != "failure" || attribute(root, "error.type") != "build-failed" || root.Status.Code != tracev1.Status_STATUS_CODE_ERROR ||
		strings.Contains(root.Status.Message, "secret") || strings.Contains(root.Status.Message, "\x1b") || attribute(build, "cicd.pipeline.task.type") != "build" || attribute(detect, "cicd.pipeline.task.run.result") != "success" || detect.Status != nil {
		t.Errorf("%v", got)
	}
}

// Nothing waits for a collector that hangs: what does not fit into the queue is dropped, and counted.
func TestExport_CollectorHangs(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer s.Close()
	defer close(hang)
	m := NewMetrics()
	var said atomic.Int32
	tracer := NewTracer(Collector{URL: s.URL, Timeout: 50 * time.Millisecond, Metrics: m.Traces, Log: func(string, ...any) { said.Add(1) }})
	began := time.Now()
	for range queuedSpans + 2*batchedSpans {
		_, span := tracer.Start(t.Context(), Parent{}, KindServer, "RUN", began)
		span.End(nil)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("spans were waited for: %v", took)
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	if n := m.Traces.Dropped.Of("queue").Load() + m.Traces.Dropped.Of("collector").Load(); n != queuedSpans+2*batchedSpans || said.Load() != 1 {
		t.Errorf("%d dropped, said %d times", n, said.Load())
	}
}

// A collector that is busy gets the batch again; one that refuses it does not.
func TestExport_Again(t *testing.T) {
	var asked atomic.Int32
	status := http.StatusServiceUnavailable
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(status)
		}
	}))
	defer s.Close()
	for _, tt := range []struct {
		status int
		asked  int32
	}{{http.StatusServiceUnavailable, 2}, {http.StatusBadRequest, 1}, {http.StatusFound, 1}} {
		asked.Store(0)
		status = tt.status
		m := NewMetrics()
		e := &exporter{c: Collector{URL: s.URL, Timeout: time.Second, Metrics: m.Traces, Log: t.Logf}, client: http.DefaultClient, stop: make(chan struct{})}
		e.send(t.Context(), []*Span{{}})
		if asked.Load() != tt.asked || m.Traces.Exported.Of().Load() != int64(tt.asked-1) {
			t.Errorf("%d: asked %d times", tt.status, asked.Load())
		}
	}
}

func TestNewCollector(t *testing.T) {
	for _, tt := range []struct {
		flag      string
		env       []string
		url, fail string
	}{
		{"", nil, "", ""},
		{"http://c:4318", nil, "http://c:4318/v1/traces", ""},
		{"https://c/otlp/", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d"}, "https://c/otlp/v1/traces", ""},
		{"http://c:4318/v1/traces", nil, "http://c:4318/v1/traces", ""},
		{"", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d:1"}, "http://d:1/v1/traces", ""},
		{"", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://e/as/it/is"}, "http://e/as/it/is", ""},
		{"", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d", "OTEL_SDK_DISABLED=true"}, "", ""},
		{"", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d", "OTEL_TRACES_EXPORTER=none"}, "", ""},
		{"c:4318", nil, "", "--otlp: "},
		{"ftp://c", nil, "", "--otlp: "},
		{"", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=c:4317"}, "", "OTEL_EXPORTER_OTLP_ENDPOINT: "},
		{"http://c", []string{"OTEL_EXPORTER_OTLP_HEADERS=token"}, "", "OTEL_EXPORTER_OTLP_HEADERS: it is not a list of pairs"},
	} {
		c, err := NewCollector(tt.flag, tt.env)
		if tt.fail != "" {
			if app.CodeOf(err) != app.CodeInvalidInput || !strings.HasPrefix(err.Error(), tt.fail) || strings.Contains(err.Error(), "token") {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		if err != nil || c.URL != tt.url {
			t.Errorf("%+v: %q, %v", tt, c.URL, err)
		}
	}
}

// Without a tracer the client's trace is still known, and nothing is sent.
func TestNoTracer(t *testing.T) {
	var none *Tracer
	if _, s := none.StartRun(t.Context(), Parent{}, "shop", time.Now()); s != nil || s.Trace() != "" || s.Sent() {
		t.Error("there is a span")
	}
	p, err := ParseTraceparent(parentText)
	if err != nil {
		t.Fatal(err)
	}
	ctx, s := none.StartRun(t.Context(), p, "shop", time.Now())
	if s.Trace() != "0af7651916cd43dd8448eb211c80319c" || s.Sent() {
		t.Error(s.Trace())
	}
	_, task := StartTask(ctx, "build", TaskBuild)
	task.EndTask(nil)
	s.EndRun(nil)
	if _, task := StartTask(context.Background(), "build", ""); task != nil {
		t.Error("there is a task of nothing")
	}
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
