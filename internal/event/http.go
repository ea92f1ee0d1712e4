package event

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gitd-io/gitd/internal/app"
)

// ErrContentType is in the chain where the content mode of a message is not known.
var ErrContentType = app.Errorf(app.CodeInvalidInput, "send it with the headers ce-id, ce-source, ce-type and ce-specversion, or as "+StructuredType, "the content mode is not known")

// FromHTTP reads an event from the header and the body of a request or a response, in either content mode, and checks it. It returns an *app.Error; where neither
// mode fits, one with ErrContentType in its chain.
func FromHTTP(h http.Header, body []byte) (Event, error) {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case err == nil && kind == batchType:
		return Event{}, app.Wrap(ErrContentType, app.CodeInvalidInput, "send each event by itself", "a batch of events (%s) is not taken", batchType)
	case err == nil && kind == StructuredType:
		return Parse(body)
	case err == nil && strings.HasPrefix(kind, "application/cloudevents"):
		return Event{}, app.Wrap(ErrContentType, app.CodeInvalidInput, "send it as "+StructuredType, "the format %q of events is not known", app.Clip(kind, 60))
	case !IsBinary(h):
		return Event{}, ErrContentType
	}
	e := Event{ContentType: h.Get("Content-Type"), Data: body}
	version := false
	for name, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		if len(values) != 1 {
			return e, notEvent("the header ce-%s is there %d times", app.Clip(app.Plain(name), maxName), len(values))
		}
		if err := checkName(name); err != nil {
			return e, notEvent("%v", err)
		}
		if name == "datacontenttype" {
			return e, notEvent("the header Content-Type is for the datacontenttype, not ce-datacontenttype")
		}
		version = version || name == "specversion"
		if err := e.Set(name, decodeHeader(strings.TrimSpace(values[0]))); err != nil {
			return e, notEvent("%v", err)
		}
	}
	if !version {
		return e, notEvent("the header ce-specversion is missing")
	}
	return e, e.Check()
}

// IsBinary says whether a header is that of an event in binary mode: it has one of the required attributes at least.
func IsBinary(h http.Header) bool {
	for _, name := range []string{"Ce-Specversion", "Ce-Id", "Ce-Type", "Ce-Source"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// IsEvent says whether a header is that of an event, in one of the modes.
func IsEvent(h http.Header) bool {
	return IsBinary(h) || strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/cloudevents")
}

// ToHeader writes the attributes as the header of a request in binary mode, whose body is the data.
func (e *Event) ToHeader(h http.Header) {
	for _, name := range e.Attributes() {
		v, _ := e.Attribute(name)
		if name == "datacontenttype" {
			h.Set("Content-Type", v)
			continue
		}
		h.Set("Ce-"+name, encodeHeader(v))
	}
}

// encodeHeader is a value as the HTTP binding of CloudEvents writes it: what a header cannot carry is percent-encoded.
func encodeHeader(v string) string {
	plain := true
	for i := range len(v) {
		plain = plain && ' ' < v[i] && v[i] < 0x7f && v[i] != '"' && v[i] != '%'
	}
	if plain {
		return v
	}
	var b strings.Builder
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// decodeHeader is the value that encodeHeader wrote. A percent sign that begins no byte stays, and so does all of it where it would not be UTF-8.
func decodeHeader(v string) string {
	if !strings.Contains(v, "%") {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if high, low := unhex(v[i+1]), unhex(v[i+2]); high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(v[i])
	}
	if s := b.String(); utf8.ValidString(s) {
		return s
	}
	return v
}

func unhex(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }
