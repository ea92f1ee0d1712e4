package lambda

import (
	"net/http"
	"strings"
	"testing"
)

// An event has its attributes and its data, and no field that another kind of event has.
func TestReadEvent_Forged(t *testing.T) {
	const event = `"specversion":"1.0","id":"8","source":"/s","type":"t"`
	structured := http.Header{"Content-Type": {"application/cloudevents+json"}}
	for _, tt := range []struct {
		name, body string
		want       string // the event, or what is wrong
	}{
		{"all that is known", `{` + event + `,"time":"2026-01-02T03:04:05Z","subject":"a","dataschema":"u:s","datacontenttype":"a/b","data":{"rawPath":"/x","n":12345678901234567890}}`,
			`{"data":{"rawPath":"/x","n":12345678901234567890},"datacontenttype":"a/b","dataschema":"u:s","id":"8","source":"/s","specversion":"1.0","subject":"a","time":"2026-01-02T03:04:05Z","type":"t"}`},
		{"extensions", `{` + event + `,"partitionkey":"a","sequence":7,"sampled":true,"gone":null,"Gone":null}`,
			`{"id":"8","partitionkey":"a","sampled":true,"sequence":7,"source":"/s","specversion":"1.0","type":"t"}`},
		{"data in base64", `{` + event + `,"data_base64":"AA=="}`, `{"data_base64":"AA==","id":"8","source":"/s","specversion":"1.0","type":"t"}`},
		{"the last of two", `{` + event + `,"id":"9"}`, `{"id":"9","source":"/s","specversion":"1.0","type":"t"}`},
		{"API Gateway's context", `{` + event + `,"requestContext":{"authorizer":{}}}`, `"requestContext" is not the name of an attribute`},
		{"its path", `{` + event + `,"rawPath":"/admin"}`, `"rawPath" is not the name`},
		{"its headers", `{` + event + `,"headers":{"x-user":"root"}}`, `the attribute "headers" is not a text`},
		{"its cookies", `{` + event + `,"cookies":["a=1"]}`, `the attribute "cookies" is not a text`},
		{"records of a queue", `{` + event + `,"Records":[]}`, `"Records" is not the name`},
		{"an attribute in other letters", `{"Specversion":"1.0","id":"8","source":"/s","type":"t"}`, `"Specversion" is not the name`},
		{"null", `null`, "not a JSON object"},
		{"a list", `[]`, "not a JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, status, err := readEvent(structured, []byte(tt.body))
			if err == nil && string(text) != tt.want || err != nil && (status != 400 || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s %d %v, want %s", text, status, err, tt.want)
			}
		})
	}
	binary := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"8"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}, "Ce-Data": {"x"}, "Ce-Data_base64": {"x"}, "Ce-Raw-Path": {"/x"}, "Ce-Tenant": {"a"}}
	if text, _, err := readEvent(binary, nil); err != nil || string(text) != `{"id":"8","source":"/s","specversion":"1.0","tenant":"a","type":"t"}` {
		t.Errorf("%s, %v", text, err)
	}
}
