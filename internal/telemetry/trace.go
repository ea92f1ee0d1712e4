package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Kind is what a span is to those outside.
type Kind uint64

// The kinds of spans, as OTLP numbers them.
const (
	KindInternal Kind = 1 // a part of another one
	KindServer   Kind = 2 // what a client asked for
)

// Attribute is something that is known of a span. Its value is a string, an int, an int64, a float64 or a bool. Nothing of an app's configuration, and no
// secret, may be in one.
type Attribute struct {
	Key   string
	Value any
}

// Bounds of what a span has.
const (
	maxAttributes = 64
	maxText       = 1 << 10 // bytes of one value
)

// Span is a part of a trace that is under way. All methods of a nil Span do nothing.
type Span struct {
	tracer  *Tracer // nil for one that is not sent
	trace   TraceID
	id      SpanID
	parent  SpanID
	state   string
	sampled bool
	name    string
	kind    Kind
	began   time.Time

	mu         sync.Mutex // mu guards the following
	ended      time.Time
	attributes []Attribute
	failed     bool
	message    string
}

// Tracer begins traces. A nil Tracer sends nothing.
type Tracer struct{ exporter *exporter }

type spanKey struct{}

// Start begins a trace, or a part of the one that parent is of, at began. Without a Tracer there is a span only where there is a parent, so that its trace's
// ID can be told.
func (t *Tracer) Start(ctx context.Context, parent Parent, kind Kind, name string, began time.Time, attributes ...Attribute) (context.Context, *Span) {
	joins := parent.Trace != TraceID{}
	if t == nil && !joins {
		return ctx, nil
	}
	s := &Span{tracer: t, trace: parent.Trace, parent: parent.Span, state: parent.State, sampled: parent.Sampled, name: name, kind: kind, began: began}
	if !joins {
		_, _ = rand.Read(s.trace[:])
		s.sampled = true
	}
	_, _ = rand.Read(s.id[:])
	s.Set(attributes...)
	return context.WithValue(ctx, spanKey{}, s), s
}

// Current is the span of a context; nil for none.
func Current(ctx context.Context) *Span {
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// Within returns a context with a span in it.
func Within(ctx context.Context, s *Span) context.Context {
	if s == nil {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, s)
}

// Start begins a part of the span in the context. It does nothing where there is none.
func Start(ctx context.Context, name string, attributes ...Attribute) (context.Context, *Span) {
	s := Current(ctx).Child(NewSpanID(), name, time.Now())
	if s == nil {
		return ctx, nil
	}
	s.Set(attributes...)
	return context.WithValue(ctx, spanKey{}, s), s
}

// NewSpanID returns an ID for Child.
func NewSpanID() (id SpanID) {
	_, _ = rand.Read(id[:])
	return id
}

// Child begins a part of a span that has an ID already, at began: for what is told when it is over.
func (s *Span) Child(id SpanID, name string, began time.Time) *Span {
	if s == nil {
		return nil
	}
	return &Span{tracer: s.tracer, trace: s.trace, id: id, parent: s.id, state: s.state, sampled: s.sampled, name: name, kind: KindInternal, began: began}
}

// Under makes a span that has not ended a part of another one of the same trace.
func (s *Span) Under(parent SpanID) {
	if s != nil {
		s.parent = parent
	}
}

// Trace is the ID of the trace, in hexadecimal; "" without a span.
func (s *Span) Trace() string {
	if s == nil {
		return ""
	}
	return s.trace.String()
}

// Sent says whether the span goes to a collector: there is one, and the trace is recorded.
func (s *Span) Sent() bool { return s != nil && s.tracer != nil && s.sampled }

// Set adds what is known of the span. A key that it has gets the new value; "" as a value is left out.
func (s *Span) Set(attributes ...Attribute) {
	if !s.Sent() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended.IsZero() {
		return
	}
next:
	for _, a := range attributes {
		if text, ok := a.Value.(string); ok {
			if text == "" {
				continue
			}
			a.Value = strings.ToValidUTF8(app.Clip(app.Printable(text), maxText), "?")
		}
		for i := range s.attributes {
			if s.attributes[i].Key == a.Key {
				s.attributes[i].Value = a.Value
				continue next
			}
		}
		if len(s.attributes) < maxAttributes {
			s.attributes = append(s.attributes, a)
		}
	}
}

// Fail says that the span ended with an error. What its user is told is in it, and nothing else; the kind of error is its error.type.
func (s *Span) Fail(err error) {
	if !s.Sent() || err == nil {
		return
	}
	kind := string(app.CodeOf(err))
	if errors.Is(err, context.Canceled) {
		kind = string(app.CodeCancelled)
	}
	s.Set(Attribute{"error.type", kind})
	message, _ := app.Explain(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended.IsZero() {
		return
	}
	s.failed, s.message = true, strings.ToValidUTF8(app.Clip(app.Printable(message), maxText), "?")
}

// End ends the span now, with an error if there is one, and sends it.
func (s *Span) End(err error) { s.EndAt(time.Now(), err) }

// EndAt is End at another time. A span ends once.
func (s *Span) EndAt(at time.Time, err error) {
	if !s.Sent() {
		return
	}
	s.Fail(err)
	s.mu.Lock()
	over := !s.ended.IsZero()
	if !over {
		s.ended = at
		if at.Before(s.began) {
			s.ended = s.began
		}
	}
	s.mu.Unlock()
	if !over {
		s.tracer.exporter.take(s)
	}
}
