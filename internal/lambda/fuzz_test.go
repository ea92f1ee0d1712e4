package lambda

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a function answers is written whole or not at all.
func FuzzRespond(f *testing.F) {
	for _, s := range []string{`{"statusCode":200,"headers":{"a":"b"},"body":"x"}`, `{"statusCode":"404","cookies":["a=1"]}`, `{"statusCode":200,"isBase64Encoded":true,"body":"eA=="}`, `"text"`, `[]`, `{`, ``, `{"statusCode":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		w := httptest.NewRecorder()
		if err := respond(w, text); err != nil && (w.Body.Len() > 0 || w.Flushed) {
			t.Errorf("%q: %v, after %q was written", text, err, w.Body)
		}
	})
}

// An event that is taken is the JSON of one.
func FuzzReadEvent(f *testing.F) {
	f.Add("application/json", "1.0", "7", []byte(`{"n":1}`))
	f.Add("application/cloudevents+json", "", "", []byte(`{"specversion":"1.0","id":"8","source":"/s","type":"t.a"}`))
	f.Add("image/png", "1.0", "%zz", []byte("\xff"))
	f.Fuzz(func(t *testing.T, kind, version, id string, body []byte) {
		h := http.Header{"Content-Type": {kind}, "Ce-Specversion": {version}, "Ce-Id": {id}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}
		text, status, err := readEvent(h, body)
		var members map[string]json.RawMessage
		if err == nil && (json.Unmarshal(text, &members) != nil || checkEvent(text) != nil) {
			t.Errorf("%q", text)
		}
		for name, v := range members {
			if !strings.HasPrefix(name, "data") && (!isName(name) || v[0] == '{' || v[0] == '[') {
				t.Errorf("%q has %q", text, name)
			}
		}
		if err != nil && (status < 400 || status > 499) {
			t.Errorf("status %d", status)
		}
	})
}
