// Package event is events as gitd understands them: CloudEvents, the filters of triggers, the rules of delivery, and what a platform of events does. It does no
// I/O. The semantics are those of Knative Eventing.
package event

import (
	"crypto/rand"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gitd-io/gitd/internal/app"
)

// SpecVersion is the version of CloudEvents that is spoken.
const SpecVersion = "1.0"

// Bounds of one event.
const (
	MaxSize       = 1 << 20  // bytes of its data and of its attributes
	maxAttributes = 64       // extensions
	maxValue      = 16 << 10 // bytes of one attribute
	maxName       = 64       // bytes of an attribute's name
)

// Event is one CloudEvent. Attributes that are "" are not there. An event is not changed after it was made: copies share its data.
type Event struct {
	ID, Source, Type string // required
	Subject          string
	Time             string // RFC 3339
	ContentType      string // datacontenttype
	Schema           string // dataschema
	Extensions       map[string]string
	Data             []byte
}

// NewID returns an id that no other event has.
func NewID() string { return strings.ToLower(rand.Text()) }

// Attribute returns the attribute with a name, and whether the event has it.
func (e *Event) Attribute(name string) (value string, ok bool) {
	switch name {
	case "specversion":
		return SpecVersion, true
	case "id":
		value = e.ID
	case "source":
		value = e.Source
	case "type":
		value = e.Type
	case "subject":
		value = e.Subject
	case "time":
		value = e.Time
	case "datacontenttype":
		value = e.ContentType
	case "dataschema":
		value = e.Schema
	default:
		value, ok = e.Extensions[name]
		return value, ok
	}
	return value, value != ""
}

// Set sets an attribute; "" removes one. The specversion is fixed: setting another fails.
func (e *Event) Set(name, value string) error {
	to := map[string]*string{"id": &e.ID, "source": &e.Source, "type": &e.Type, "subject": &e.Subject, "time": &e.Time, "datacontenttype": &e.ContentType, "dataschema": &e.Schema}[name]
	switch {
	case to != nil:
		*to = value
	case name == "specversion":
		if value != SpecVersion {
			return fmt.Errorf("its specversion is %q: send events of version %s", app.Clip(value, 20), SpecVersion)
		}
	case value == "":
		delete(e.Extensions, name)
	default:
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[name] = value
	}
	return nil
}

// With returns a copy with an attribute set.
func (e Event) With(name, value string) Event {
	e.Extensions = maps.Clone(e.Extensions)
	_ = e.Set(name, value)
	return e
}

// Attributes returns the names of the attributes that the event has, those of CloudEvents first.
func (e *Event) Attributes() []string {
	var names []string
	for _, n := range coreNames {
		if _, ok := e.Attribute(n); ok {
			names = append(names, n)
		}
	}
	return append(names, slices.Sorted(maps.Keys(e.Extensions))...)
}

var coreNames = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}

// Size is how many bytes the event counts for.
func (e *Event) Size() int {
	n := len(e.Data) + len(e.ID) + len(e.Source) + len(e.Type) + len(e.Subject) + len(e.Time) + len(e.ContentType) + len(e.Schema)
	for name, value := range e.Extensions {
		n += len(name) + len(value)
	}
	return n
}

// Check returns what keeps this from being an event, as an *app.Error: InvalidInput, or LimitExceeded where it is too large.
func (e *Event) Check() error {
	for _, name := range []string{"id", "source", "type"} {
		if v, _ := e.Attribute(name); v == "" {
			return notEvent("the attribute %s is missing", name)
		}
	}
	if len(e.Extensions) > maxAttributes {
		return notEvent("it has %d extension attributes, at most %d can be", len(e.Extensions), maxAttributes)
	}
	for _, name := range e.Attributes() {
		if err := checkName(name); err != nil {
			return notEvent("%v", err)
		}
		v, _ := e.Attribute(name)
		if err := checkValue(name, v); err != nil {
			return notEvent("%v", err)
		}
	}
	if e.Time != "" {
		if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
			return notEvent("its time %q is not of RFC 3339, such as 2026-01-31T12:00:00Z", app.Clip(e.Time, 60))
		}
	}
	for name, v := range map[string]string{"source": e.Source, "dataschema": e.Schema} {
		if _, err := url.Parse(v); err != nil {
			return notEvent("its %s %q is not a reference as URIs are", name, app.Clip(v, 60))
		}
	}
	if e.ContentType != "" {
		if _, _, err := mime.ParseMediaType(e.ContentType); err != nil {
			return notEvent("its datacontenttype %q is not a media type", app.Clip(e.ContentType, 60))
		}
	}
	if n := e.Size(); n > MaxSize {
		return app.Errorf(app.CodeLimitExceeded, "store the data elsewhere, and send where it is", "the event has %d bytes with its attributes, %d more than the limit of %s", n, n-MaxSize, app.Size(MaxSize))
	}
	return nil
}

// checkName says what is wrong with the name of an attribute.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return fmt.Errorf("the name of an attribute is of a-z and 0-9, at most %d characters, not %q", maxName, app.Clip(name, 60))
	}
	if name == "data" {
		return fmt.Errorf("data is not the name of an attribute")
	}
	return nil
}

func checkValue(name, v string) error {
	switch {
	case len(v) > maxValue:
		return fmt.Errorf("the attribute %s is longer than %s", name, app.Size(maxValue))
	case !utf8.ValidString(v):
		return fmt.Errorf("the attribute %s is not UTF-8", name)
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }):
		return fmt.Errorf("the attribute %s has a control character", name)
	}
	return nil
}

// isJSON says whether data of a content type is JSON: "" is.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json"))
}

func notEvent(format string, args ...any) error {
	return app.Errorf(app.CodeInvalidInput, "see docs/events.md for what an event is", "this is not an event: %s", fmt.Sprintf(format, args...))
}
