package event_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

func TestParse(t *testing.T) {
	const rest = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	for text, want := range map[string]string{
		`{` + rest + `}`:                      "",
		"\ufeff {" + rest + `,"data":null}`:   "",
		`{` + rest + `,"subject":null}`:       "",
		``:                                    "there is nothing",
		`[]`:                                  "batch",
		`"x"`:                                 "not a JSON object",
		`{`:                                   "not a JSON object",
		`{"id":"1","source":"/s","type":"t"}`: "specversion is missing",
		`{"specversion":"1.0","source":"/s","type":"t"}`:          "id is missing",
		`{"specversion":"1.0","id":"1","type":"t"}`:               "source is missing",
		`{"specversion":"1.0","id":"1","source":"/s"}`:            "type is missing",
		`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`: "0.3",
		`{"specversion":1,"id":"1","source":"/s","type":"t"}`:     "send events of version",
		`{"specversion":"1.0","id":"","source":"/s","type":"t"}`:  "id is empty",
		`{"specversion":"1.0","id":{},"source":"/s","type":"t"}`:  "not a text",
		`{"specversion":"1.0","id":7,"source":"/s","type":"t"}`:   "the attribute id is not a text",
		`{` + rest + `,"subject":true}`:                           "the attribute subject is not a text",
		`{` + rest + `,"ext":7,"other":true}`:                     "",
		`{"specversion":"1.0","id":"1","source":":/","type":"t"}`: "its source \":/\" is not a reference as URIs are",
		`{` + rest + `,"dataschema":"http://%zz/"}`:               "its dataschema \"http://%zz/\" is not a reference as URIs are",
		`{` + rest + `,"ext":1.5}`:                                "not a text",
		`{` + rest + `,"ext":99999999999}`:                        "not a text",
		`{` + rest + `,"Bad":"x"}`:                                "name of an attribute",
		`{` + rest + `,"time":"now"}`:                             "RFC 3339",
		`{` + rest + `,"datacontenttype":"///"}`:                  "media type",
		`{` + rest + `,"data":1,"data_base64":"eA=="}`:            "both data",
		`{` + rest + `,"data_base64":"!"}`:                        "not in base64",
		`{` + rest + `,"ext":"a\nb"}`:                             "control character",
	} {
		_, err := event.Parse([]byte(text))
		if want == "" && err != nil || want != "" && (app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// An event that is too large says by how much, also where that is a few bytes.
func TestCheck_TooLarge(t *testing.T) {
	e := event.Event{ID: "1", Source: "/s", Type: "t", Data: make([]byte, event.MaxSize)}
	if err := e.Check(); app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "the event has 1048580 bytes with its attributes, 4 more than the limit of 1 MiB") {
		t.Error(err)
	}
	e.Data = e.Data[4:]
	if err := e.Check(); err != nil {
		t.Error(err)
	}
}

// What is read is written as the same event, in both modes.
func TestRoundTrip(t *testing.T) {
	for _, e := range []event.Event{
		{ID: "1", Source: "/s", Type: "t"},
		{ID: "1", Source: "/s", Type: "t", ContentType: "application/json", Data: []byte(`{"a":[1,"x"]}`)},
		{ID: "1", Source: "/s", Type: "t", ContentType: "text/plain; charset=utf-8", Data: []byte("Zürich\n")},
		{ID: "1", Source: "/s", Type: "t", ContentType: "image/png", Data: []byte{0x89, 'P', 0xff, 0}},
		{ID: "1", Source: "/s", Type: "t", ContentType: "application/json", Data: []byte("no JSON")},
		{ID: "a b%20\"c\"", Source: "/sü?x=1#y", Type: "€", Subject: "100 %", Time: "2026-01-31T12:00:00+01:00", Schema: "https://x/y", Extensions: map[string]string{"n": "1", "b": "true"}},
	} {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := event.Parse(text); err != nil || !same(back, e) {
			t.Errorf("structured: %s: %+v, %v", text, back, err)
		}
		h := http.Header{}
		e.ToHeader(h)
		if back, err := event.FromHTTP(h, e.Data); err != nil || !same(back, e) {
			t.Errorf("binary: %v: %+v, %v", h, back, err)
		}
	}
}

func same(a, b event.Event) bool {
	for _, name := range append(a.Attributes(), b.Attributes()...) {
		x, _ := a.Attribute(name)
		if y, _ := b.Attribute(name); x != y {
			return false
		}
	}
	return bytes.Equal(a.Data, b.Data)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1},"n":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := event.Parse(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := event.Parse(again); err != nil || !same(back, e) {
			t.Errorf("%s became %s: %v", text, again, err)
		}
	})
}

func TestDelivery(t *testing.T) {
	for text, want := range map[string]time.Duration{"PT0.2S": 200 * time.Millisecond, "PT1M30S": 90 * time.Second, "P1D": 24 * time.Hour, "P1W": 7 * 24 * time.Hour, "PT0S": 0, "200ms": 200 * time.Millisecond} {
		if d, err := event.ParseDuration(text); err != nil || d != want {
			t.Errorf("%s: %s, %v", text, d, err)
		}
		if back, err := event.ParseDuration(event.FormatDuration(want)); err != nil || back != want {
			t.Errorf("%s: %s, %v", event.FormatDuration(want), back, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1Y", "P1DT", "PT1", "1", "-1s", "PT-1S", "PT99999999999S", "soon"} {
		if d, err := event.ParseDuration(text); err == nil {
			t.Errorf("%q: %s", text, d)
		}
	}
	d := event.Defaults()
	var all []time.Duration
	for n := range 4 {
		all = append(all, d.Pause(n))
	}
	d.Policy = event.Linear
	for n := range 4 {
		all = append(all, d.Pause(n))
	}
	for i, ms := range []time.Duration{200, 400, 800, 1600, 0, 200, 400, 600} {
		if all[i] != ms*time.Millisecond {
			t.Errorf("pauses %s", all)
			break
		}
	}
	d.Policy = event.Exponential
	if p := d.Pause(10_000); p != event.MaxPause {
		t.Errorf("a pause of %s", p)
	}
}

func TestDead(t *testing.T) {
	e := event.Event{ID: "1", Source: "/s", Type: "t"}
	for data, want := range map[string]string{"no\n": "no", strings.Repeat("ü", 700): strings.Repeat("ü", 512), "\xff\xfe": "//4="} {
		d := e.Dead(event.Failure{Destination: "http://x/y", Status: 500, Data: []byte(data)})
		if d.Extensions["knativeerrordata"] != want || d.Extensions["knativeerrordest"] != "http://x/y" || d.Extensions["knativeerrorcode"] != "500" || d.Check() != nil {
			t.Errorf("%q: %+v, %v", data, d.Extensions, d.Check())
		}
	}
	d := e.Dead(event.Failure{Destination: "x", Data: bytes.Repeat([]byte{0xff}, 5000)})
	if n := len(d.Extensions["knativeerrordata"]); n > 1024 || n < 1000 || d.Extensions["knativeerrorcode"] != "" || e.Extensions != nil {
		t.Errorf("%d bytes, %+v", n, d.Extensions)
	}
}

func TestFilters_Errors(t *testing.T) {
	list := func(f ...any) any { return f }
	type table = map[string]any
	deep := table{"exact": table{"type": "x"}}
	for range 20 {
		deep = table{"not": deep}
	}
	for want, v := range map[string]any{
		"is a table":             "x",
		"no such dialect":        table{"like": table{"type": "x"}},
		"has exact and prefix":   table{"exact": table{"type": "x"}, "prefix": table{"type": "x"}},
		"it is empty":            table{},
		"names an attribute":     table{"exact": table{}},
		"is a text":              table{"exact": table{"type": 1}},
		"name of an attribute":   table{"exact": table{"No": "x"}},
		"is empty, or longer":    table{"exact": table{"type": ""}},
		"filter[1]: it is empty": list(table{"exact": table{"type": "x"}}, table{}),
		"any: it is a table":     table{"any": 1},
		"not: it is a filter":    table{"not": list()},
		"deep":                   deep,
		"cesql: it is an":        table{"cesql": ""},
		"column 8: the quote":    table{"cesql": "type = 'x"},
		"there is no function":   table{"cesql": "FOO(1)"},
		"ends too early":         table{"cesql": "type ="},
	} {
		filters, err := event.ReadFilters(v)
		if err == nil {
			_, err = event.Compile(filters)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", v, err, want)
		}
	}
	filters, err := event.ReadFilters(table{"attributes": table{"type": "x", "region": ""}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := event.Compile(filters)
	if err != nil || m(&event.Event{Type: "x"}) || !m(&event.Event{Type: "x", Extensions: map[string]string{"region": "eu"}}) {
		t.Errorf("the older form: %+v, %v", filters, err)
	}
}
