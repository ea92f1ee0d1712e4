// Package functiontest has what every function of a contract must do, whatever language it is written in: the rows of the Functions Framework's
// conformance suite in our words, and what CloudEvents' HTTP binding asks of a receiver. A function under test writes what it got to a file.
package functiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

// Output is the file, in its working directory, to which a function under test writes: one that answers requests their body, one that takes events
// the event as JSON.
const Output = "function_output.json"

// output reads the file and removes it.
func output(t testing.TB, dir string) map[string]any {
	t.Helper()
	file := dir + "/" + Output
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("the function wrote nothing: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("the function wrote %q: %v", text, err)
	}
	return got
}

// HTTP checks a function that answers requests at url and works in dir.
func HTTP(t *testing.T, url, dir string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(`{"res":"PASS"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := output(t, dir); resp.StatusCode != http.StatusOK || !reflect.DeepEqual(got, map[string]any{"res": "PASS"}) {
		t.Errorf("status %d, the function got %v", resp.StatusCode, got)
	}
}

// Concurrent checks that a function which sleeps for a second at each call takes several at a time. kind and body are what it takes.
func Concurrent(t *testing.T, url, kind, body string) {
	t.Helper()
	began := time.Now()
	ended := make(chan string)
	for range 10 {
		go func() {
			resp, err := http.Post(url, kind, strings.NewReader(body))
			if err != nil {
				ended <- err.Error()
				return
			}
			resp.Body.Close()
			ended <- resp.Status[:1]
		}()
	}
	for range 10 {
		if got := <-ended; got != "2" {
			t.Errorf("one of ten calls at a time: %s", got)
		}
	}
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("ten calls of a second took %v", took)
	}
}

// Events are what CloudEvents checks with: the kinds of data and attributes that the suite's events have.
var Events = map[string]string{
	"an object":     `{"specversion":"1.0","id":"a-1","source":"//storage.example.com/buckets/b","type":"com.example.object.finalized","subject":"objects/folder/a.txt","time":"2026-11-26T10:42:27Z","datacontenttype":"application/json","data":{"bucket":"b","size":12,"meta":{"k":["v",null,true]}}}`,
	"an extension":  `{"specversion":"1.0","id":"a-2","source":"/sensors/7","type":"com.example.measured","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","datacontenttype":"application/json","data":{"celsius":21.5}}`,
	"text":          `{"specversion":"1.0","id":"a-3","source":"/mail","type":"com.example.received","datacontenttype":"application/json","data":"naïve ☃ \"quoted\""}`,
	"a list":        `{"specversion":"1.0","id":"a-4","source":"urn:example:list","type":"com.example.listed","datacontenttype":"application/json","data":[1,"two",{"three":3}]}`,
	"no data":       `{"specversion":"1.0","id":"a-5","source":"/timer","type":"com.example.ticked"}`,
	"a data schema": `{"specversion":"1.0","id":"a-6","source":"/orders","type":"com.example.ordered","dataschema":"https://example.com/order.json","datacontenttype":"application/json","data":{"null":null}}`,
}

// CloudEvents checks a function that takes events at url and works in dir: with a client of the CloudEvents SDK, in both content modes.
func CloudEvents(t *testing.T, url, dir string) {
	t.Helper()
	protocol, err := cloudevents.NewHTTP(cloudevents.WithTarget(url))
	if err != nil {
		t.Fatal(err)
	}
	client, err := cloudevents.NewClient(protocol)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range Events {
		for mode, with := range map[string]func(context.Context) context.Context{"binary": cloudevents.WithEncodingBinary, "structured": cloudevents.WithEncodingStructured} {
			t.Run(name+", "+mode, func(t *testing.T) {
				var e cloudevents.Event
				if err := json.Unmarshal([]byte(text), &e); err != nil {
					t.Fatal(err)
				}
				if err := client.Send(with(t.Context()), e); !cloudevents.IsACK(err) {
					t.Fatal(err)
				}
				var want map[string]any
				if err := json.Unmarshal([]byte(text), &want); err != nil {
					t.Fatal(err)
				}
				got := output(t, dir)
				same(t, got, want)
			})
		}
	}
	toBroker(t, url, dir)
}

// toBroker checks that a function which answers with no event answers a broker with nothing: any other text is a failure for brokers of Knative.
func toBroker(t *testing.T, url, dir string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(Events["text"]))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	r.Header.Set("Prefer", "reply")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 || len(body) > 0 {
		t.Errorf("a broker is answered with %s: %q, %v", resp.Status, body, err)
	}
	output(t, dir)
}

// same compares events: times are the same in any form, and data that is null is none.
func same(t *testing.T, got, want map[string]any) {
	t.Helper()
	for _, e := range []map[string]any{got, want} {
		if s, ok := e["time"].(string); ok {
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				t.Fatal(err)
			}
			e["time"] = at.UTC().Format(time.RFC3339Nano)
		}
		for name, v := range e {
			if v == nil {
				delete(e, name)
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the function got %v, want %v", got, want)
	}
}

// Refused checks that a function of events does not get what is none: each is refused with a status that says that sending it again is of no use. A library
// that answers some of them with another error has these in except.
func Refused(t *testing.T, url, dir string, except ...string) {
	t.Helper()
	for _, tt := range []struct{ name, kind, body string }{
		{"no event", "application/json", `{"a":1}`},
		{"a batch", "application/cloudevents-batch+json", `[` + Events["text"] + `]`},
		{"an unknown format", "application/cloudevents+yaml", `specversion: "1.0"`},
		{"no type", "application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"/s"}`},
		{"no source", "application/cloudevents+json", `{"specversion":"1.0","id":"1","type":"t"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := http.Post(url, tt.kind, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode < 400 || resp.StatusCode > 499 && !slices.Contains(except, tt.name) {
				t.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(body))
			}
			if _, err := os.Stat(dir + "/" + Output); err == nil {
				t.Errorf("the function was called with %v", output(t, dir))
			}
		})
	}
}
