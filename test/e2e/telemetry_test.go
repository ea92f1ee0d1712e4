package e2e

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes traces as an OpenTelemetry collector does, by the protocol's own types.
type collector struct {
	hangs atomic.Bool
	end   context.Context

	mu    sync.Mutex // mu guards the following
	spans map[string][]*tracev1.Span
	raw   [][]byte // as they came
}

// cmdCollector starts a collector, or has it hang.
func cmdCollector(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.collector != nil {
		w.collector.hangs.Store(len(args) == 1 && args[0] == "hang")
		return output{}, nil
	}
	end, cancel := context.WithCancel(context.Background())
	w.collector = &collector{spans: map[string][]*tracev1.Span{}, end: end}
	s := httptest.NewServer(w.collector)
	ts.Defer(func() {
		cancel()
		s.Close()
	})
	ts.Setenv("OTLP", s.URL)
	ts.Setenv("COLLECTOR", strings.TrimPrefix(s.URL, "http://"))
	return output{}, nil
}

// ServeHTTP takes spans.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.hangs.Load() {
		select {
		case <-r.Context().Done():
		case <-c.end.Done():
		}
		return
	}
	b, err := io.ReadAll(r.Body)
	var request collectorv1.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, b)
	for _, of := range request.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				id := hex.EncodeToString(s.TraceId)
				c.spans[id] = append(c.spans[id], s)
			}
		}
	}
}

// cmdSpans shows a trace, or all of them: a line a span, under that of its parent, with its error and what is known of it.
func cmdSpans(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.collector == nil || len(args) > 1 {
		ts.Fatalf("usage, with a collector: spans [TRACE]")
	}
	w.collector.mu.Lock()
	defer w.collector.mu.Unlock()
	var b strings.Builder
	for id, spans := range w.collector.spans {
		if len(args) == 0 || args[0] == id {
			tree(&b, slices.Clone(spans))
		}
	}
	if b.Len() == 0 {
		return output{}, errors.New("there are no spans")
	}
	return output{stdout: b.String()}, nil
}

// tree writes the spans of a trace.
func tree(b *strings.Builder, spans []*tracev1.Span) {
	known := map[string]bool{}
	for _, s := range spans {
		known[string(s.SpanId)] = true
	}
	slices.SortFunc(spans, func(a, b *tracev1.Span) int { return cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano) })
	var show func(parent string, depth int)
	show = func(parent string, depth int) {
		for _, s := range spans {
			if p := string(s.ParentSpanId); p != parent && (depth > 0 || known[p]) {
				continue
			}
			fmt.Fprintf(b, "%s%s", strings.Repeat("  ", depth), s.Name)
			if depth == 0 && len(s.ParentSpanId) > 0 {
				fmt.Fprintf(b, " under %x", s.ParentSpanId)
			}
			if s.EndTimeUnixNano < s.StartTimeUnixNano {
				b.WriteString(" ENDS BEFORE IT BEGINS")
			}
			if s.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR {
				fmt.Fprintf(b, " error=%q", s.Status.Message)
			}
			for _, a := range s.Attributes {
				v := a.Value.GetStringValue()
				if v == "" {
					v = strings.TrimSpace(a.Value.String())
				}
				fmt.Fprintf(b, " %s=%s", a.Key, v)
			}
			b.WriteByte('\n')
			show(string(s.SpanId), depth+1)
		}
	}
	show("", 0)
}

// cmdMetrics shows lines of the metrics.
func cmdMetrics(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.metrics == "" || len(args) != 1 {
		ts.Fatalf("usage, with a server that has --metrics: metrics PATTERN")
	}
	body, err := fetch("http://" + w.metrics + "/metrics")
	if err != nil {
		return output{}, err
	}
	wanted := regexp.MustCompile(args[0])
	var found []string
	for line := range strings.Lines(body) {
		if wanted.MatchString(line) {
			found = append(found, line)
		}
	}
	if found == nil {
		return output{stdout: body}, errors.New("no line matches")
	}
	return output{stdout: strings.Join(found, "")}, nil
}

func fetch(address string) (string, error) {
	client := &http.Client{Timeout: 20 * time.Second}
	r, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), err
}

// prometheus is a Prometheus that scrapes the server.
type prometheus struct {
	address string
	cmd     *exec.Cmd
}

func (p *prometheus) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// prometheusConfig scrapes often, with the rules of config/monitoring.
const prometheusConfig = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
- job_name: gitd
  static_configs: [{targets: [%q]}]
`

// cmdPrometheus starts Debian's Prometheus beside the server, one that asks for native histograms with that argument, in place of the one before.
func cmdPrometheus(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.prometheus != nil {
		w.prometheus.stop()
	}
	rules, err := filepath.Abs("../../config/monitoring/*.rules.yml")
	ts.Check(err)
	dir, err := os.MkdirTemp(w.base, "prometheus-")
	ts.Check(err)
	file := filepath.Join(dir, "prometheus.yml")
	ts.Check(os.WriteFile(file, fmt.Appendf(nil, prometheusConfig, rules, w.metrics), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	address := l.Addr().String()
	ts.Check(l.Close())
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+address)
	if slices.Equal(args, []string{"native"}) {
		cmd.Args = append(cmd.Args, "--enable-feature=native-histograms")
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	ts.Check(log.Close())
	w.prometheus = &prometheus{address, cmd}
	ts.Defer(w.prometheus.stop)
	for range 300 {
		if _, err = fetch("http://" + address + "/-/ready"); err == nil {
			return output{}, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name())
	return output{stderr: string(said)}, err
}

// cmdPromQL shows the series that a query finds, with their values.
func cmdPromQL(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.prometheus == nil || len(args) != 1 {
		ts.Fatalf("usage, with a prometheus: promql QUERY")
	}
	found, err := w.prometheus.query(args[0])
	if err == nil && found == "" {
		err = errors.New("no series")
	}
	return output{stdout: found}, err
}

// query returns a line for each series that a query finds: its value, and its labels.
func (p *prometheus) query(text string) (string, error) {
	body, err := fetch("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(text))
	if err != nil {
		return "", err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  []any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, r := range answer.Data.Result {
		value := any("a histogram")
		if len(r.Value) == 2 {
			value = r.Value[1]
		}
		fmt.Fprintf(&b, "%v %v\n", value, r.Metric)
	}
	return b.String(), nil
}

// monitoringNames are the metrics in config/monitoring, by name.
var monitoringNames = regexp.MustCompile(`\b(gitd|go|process)_[a-z0-9_]+`)

// cmdMonitored finds out whether Prometheus has each metric that the dashboard and the rules name, and can evaluate each query of the dashboard.
func cmdMonitored(w *world, ts *testscript.TestScript, _ []string) (output, error) {
	var missing []string
	for _, file := range []string{"gitd.dashboard.json", "gitd.rules.yml"} {
		b, err := os.ReadFile(filepath.Join("../../config/monitoring", file))
		ts.Check(err)
		names := monitoringNames.FindAllString(string(b), -1)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if strings.HasPrefix(name, "gitd_certificate_") || strings.HasPrefix(name, "gitd_event_") { // the script has no certificate and no trigger
				continue
			}
			if found, err := w.prometheus.query("count(" + name + ")"); err != nil || found == "" {
				missing = append(missing, name)
			}
		}
		for _, m := range regexp.MustCompile(`"expr": ("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(string(b), -1) {
			var e string
			ts.Check(json.Unmarshal([]byte(m[1]), &e))
			e = strings.NewReplacer("$__rate_interval", "1m", "$service", ".*").Replace(e)
			if _, err := w.prometheus.query(e); err != nil {
				return output{}, fmt.Errorf("%s: %w", e, err)
			}
		}
	}
	if missing != nil {
		return output{}, fmt.Errorf("Prometheus has no %s", strings.Join(missing, ", "))
	}
	return output{}, nil
}
