package telemetry

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/gitd-io/gitd/internal/telemetry/histogram"
)

// scrape asks an endpoint for its metrics.
func scrape(t *testing.T, h http.Handler, accept string) (kind string, body []byte) {
	t.Helper()
	s := httptest.NewServer(h)
	defer s.Close()
	q, err := http.NewRequest(http.MethodGet, s.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", accept)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r.Status, err)
	}
	return r.Header.Get("Content-Type"), b
}

// families reads protocol buffers with Prometheus' own types.
func families(t *testing.T, body []byte) map[string]*dto.MetricFamily {
	t.Helper()
	all := map[string]*dto.MetricFamily{}
	r := bufio.NewReader(bytes.NewReader(body))
	for {
		n, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		f := &dto.MetricFamily{}
		if err := proto.Unmarshal(b, f); err != nil {
			t.Fatal(err)
		}
		if len(f.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%s has fields that Prometheus does not know", f.GetName())
		}
		all[f.GetName()] = f
	}
}

const prometheusAccepts = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// Both formats say the same, in Prometheus' own words.
func TestFormats(t *testing.T) {
	m := NewMetrics()
	m.Runtime.Version = "1.2.3"
	m.Releases.Pushes.Inc("shop", "live")
	m.Releases.Pushes.Add(2, "shop", "failed")
	m.Builds.Buildpacks.Observe(300*time.Millisecond, "gitd/\"go\\\n", "ok")
	m.Builds.Buildpacks.Observe(310*time.Millisecond, "gitd/\"go\\\n", "ok")
	m.Builds.Buildpacks.Observe(3*time.Second, "gitd/\"go\\\n", "ok")
	kind, text := scrape(t, m.Handler(), "text/plain")
	if kind != textType {
		t.Error(kind)
	}
	for _, line := range []string{
		"# TYPE gitd_pushes_total counter", `gitd_pushes_total{service="shop",result="live"} 1`, `gitd_pushes_total{service="shop",result="failed"} 2`, "gitd_ssh_received_bytes_total 0",
		`gitd_build_info{version="1.2.3"} 1`, `gitd_buildpack_duration_seconds_bucket{buildpack="gitd/\"go\\\n",result="ok",le="0.25"} 0`,
		`gitd_buildpack_duration_seconds_bucket{buildpack="gitd/\"go\\\n",result="ok",le="0.5"} 2`, `gitd_buildpack_duration_seconds_bucket{buildpack="gitd/\"go\\\n",result="ok",le="+Inf"} 3`,
		`gitd_buildpack_duration_seconds_sum{buildpack="gitd/\"go\\\n",result="ok"} 3.61`, "# TYPE process_cpu_seconds_total counter",
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
	kind, body := scrape(t, m.Handler(), prometheusAccepts)
	if kind != protoType {
		t.Error(kind)
	}
	all := families(t, body)
	f := all["gitd_buildpack_duration_seconds"]
	if f.GetType() != dto.MetricType_HISTOGRAM || len(f.Metric) != 1 || f.Metric[0].Label[0].GetValue() != "gitd/\"go\\\n" {
		t.Fatalf("%v", f)
	}
	h := f.Metric[0].Histogram
	if h.GetSampleCount() != 3 || math.Abs(h.GetSampleSum()-3.61) > 1e-9 || h.GetSchema() != histogram.Schema || len(h.Bucket) != len(f.Metric[0].Histogram.Bucket) {
		t.Errorf("%v", h)
	}
	if got := native(h); fmt.Sprint(got) != "map[-6:2 7:1]" { // 2^(-7/4) is 0.297, 2^(-6/4) 0.354; 2^(6/4) is 2.83, 2^(7/4) 3.36
		t.Errorf("%v", got)
	}
	if c := all["gitd_pushes_total"].Metric[0]; c.Counter.GetValue()+c.Gauge.GetValue() != 2 {
		t.Errorf("%v", c)
	}
	if g := all["go_goroutines"]; g.GetType() != dto.MetricType_GAUGE || g.Metric[0].Gauge.GetValue() < 1 {
		t.Errorf("%v", g)
	}
}

// native returns the buckets of a native histogram by index.
func native(h *dto.Histogram) map[int]int64 {
	all := map[int]int64{}
	index, count, delta := 0, int64(0), 0
	for _, s := range h.PositiveSpan {
		index += int(s.GetOffset())
		for range s.GetLength() {
			count += h.PositiveDelta[delta]
			all[index] = count
			delta++
			index++
		}
	}
	return all
}

// The spans of a native histogram hold what was counted, wherever that is.
func TestNativeHistogram(t *testing.T) {
	for _, durations := range [][]time.Duration{{}, {1}, {time.Second, time.Second, 1100 * time.Millisecond}, {time.Microsecond, time.Second, 100 * time.Hour, 100 * time.Hour, 5 * time.Millisecond}} {
		var h histogram.Histogram
		for _, d := range durations {
			h.Observe(d)
		}
		v := h.Value()
		var d dto.Histogram
		if err := proto.Unmarshal(nativeHistogram(v, []float64{1}), &d); err != nil {
			t.Fatal(err)
		}
		if len(d.PositiveSpan) == 0 {
			t.Errorf("%v: nothing says that it is a native one", durations)
		}
		got := native(&d)
		for i, n := range v.Counts {
			if got[histogram.First+i] != n {
				t.Errorf("%v: bucket %d has %d, not %d", durations, histogram.First+i, got[histogram.First+i], n)
			}
		}
	}
}

// The names of apps come from strangers: series are bounded, and go with the app.
func TestSeriesAreBounded(t *testing.T) {
	m := NewMetrics()
	for i := range maxSeries + 10 {
		m.Releases.Pushes.Inc(fmt.Sprintf("app-%d", i), "live")
	}
	_, text := scrape(t, m.Handler(), "")
	if n := strings.Count(string(text), "\ngitd_pushes_total{"); n != maxSeries+1 {
		t.Errorf("%d series", n)
	}
	if !strings.Contains(string(text), `gitd_pushes_total{service="(others)",result="(others)"} 10`) {
		t.Error("the others are not counted together")
	}
	m.Forget("app-7")
	m.Releases.Pushes.Inc("app-3000", "live")
	_, text = scrape(t, m.Handler(), "")
	if s := string(text); strings.Contains(s, `"app-7"`) || !strings.Contains(s, `"app-3000"`) {
		t.Error("an app that has gone has series, or leaves no room")
	}
	m.OnScrape(func(_ context.Context, s *Scrape) {
		for i := range maxSeries + 5 {
			s.Add(m.Requests.Answered, 2, fmt.Sprintf("a%d", i), "r", "web", "2xx")
		}
	})
	_, text = scrape(t, m.Handler(), "")
	if !strings.Contains(string(text), `gitd_http_requests_total{service="(others)",revision="(others)",process="(others)",code="(others)"} 10`) {
		t.Error("what is asked for is not bounded")
	}
}

// What is not handed anything to count with counts nothing.
func TestNothingToCountWith(t *testing.T) {
	var m *Metrics
	m.Forget("shop")
	var zero Metrics
	zero.SSH.Connections.Inc("accepted")
	zero.SSH.Received.Of().Add(1)
	zero.Builds.Phases.Observe(time.Second, "build")
	(&Scrape{}).Add(zero.Host.Free, 1)
}

func TestCheckAddress(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1:9469": true, "localhost:9469": true, "[::1]:9469": true, "127.8.9.1:1": true, ":9469": false, "0.0.0.0:9469": false, "[::]:1": false,
		"192.0.2.1:9469": false, "example.com:1": false, "127.0.0.1": false} {
		if err := CheckAddress(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Names follow the conventions of Prometheus.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range NewMetrics().All() {
		if seen[m.Name] || m.Help == "" || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s is there twice, or has no sentence for help", m.Name)
		}
		seen[m.Name] = true
		if (m.Type == TypeCounter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s is a %s", m.Name, m.Type)
		}
		if m.Type == TypeHistogram && (!strings.HasSuffix(m.Name, "_seconds") || len(m.Bounds) == 0) {
			t.Errorf("%s has no unit or no buckets", m.Name)
		}
	}
}
