// Package signature reads the functions of a folder of Go, and tells by their signatures what may call them. It reads the text alone: nothing is
// compiled and no import is followed, so that a wrong signature is told before the build, with its line.
package signature

import (
	"slices"
	"strings"
)

// Func is an exported function, or a method of a type.
type Func struct {
	Name    string
	File    string   // in its folder
	Line    int      // of the name
	Params  []string // their types, one for each parameter: see the constants
	Results []string
	Generic bool
	Text    string // as it is written, without its body: "func Handle(w http.ResponseWriter, r *http.Request)"
}

// Types that matter, as Params and Results have them. Others are what the code says.
const (
	Writer   = "http.ResponseWriter"
	Request  = "*http.Request"
	Context  = "context.Context"
	Event    = "cloudevents.Event"
	EventPtr = "*cloudevents.Event"
	Error    = "error"
)

// canonical are the types by the path of their package.
var canonical = map[string]string{
	"net/http.ResponseWriter":                             Writer,
	"net/http.Request":                                    "http.Request",
	"context.Context":                                     Context,
	"github.com/cloudevents/sdk-go/v2.Event":              Event,
	"github.com/cloudevents/sdk-go/v2/event.Event":        Event,
	"github.com/cloudevents/sdk-go/v2.Result":             Error,
	"github.com/cloudevents/sdk-go/v2/protocol.Result":    Error,
	"github.com/cloudevents/sdk-go/v2/event.EventContext": "cloudevents.EventContext",
}

// HTTP tells whether the function answers a request of HTTP.
func (f *Func) HTTP() bool {
	return !f.Generic && slices.Equal(f.Params, []string{Writer, Request}) && len(f.Results) == 0
}

// HTTPContext tells whether it does so with a context before the others, as functions of Knative did at first.
func (f *Func) HTTPContext() bool {
	return !f.Generic && slices.Equal(f.Params, []string{Context, Writer, Request}) && len(f.Results) == 0
}

// Calls is how a function takes a CloudEvent and what it gives.
type Calls struct{ Context, Event, Reply, Error bool }

// CloudEvent tells whether the function takes a CloudEvent: ([context.Context], [event.Event]) ([*event.Event], [error]). One without the event takes
// any, as the SDK has it.
func (f *Func) CloudEvent() (c Calls, ok bool) {
	if f.Generic {
		return c, false
	}
	c.Context, c.Event = match(f.Params, Context, Event)
	c.Reply, c.Error = match(f.Results, EventPtr, Error)
	return c, len(f.Params) == count(c.Context, c.Event) && len(f.Results) == count(c.Reply, c.Error)
}

// TakesEvent tells whether the function takes a CloudEvent and says so.
func (f *Func) TakesEvent() bool {
	c, ok := f.CloudEvent()
	return ok && c.Event
}

// Background tells whether the function takes an event of before CloudEvents: (context.Context, T) error.
func (f *Func) Background() bool {
	return !f.Generic && len(f.Params) == 2 && f.Params[0] == Context && f.Params[1] != Event && slices.Equal(f.Results, []string{Error})
}

// Lambda tells whether the function is a handler of AWS Lambda: ([context.Context], [T]) ([T], [error]).
func (f *Func) Lambda() bool {
	if f.Generic || f.HTTP() || f.HTTPContext() || len(f.Params) > 2 || len(f.Results) > 2 {
		return false
	}
	return (len(f.Params) < 2 || f.Params[0] == Context) && (len(f.Results) < 1 || f.Results[len(f.Results)-1] == Error) && !slices.ContainsFunc(f.Params, noEvent)
}

// noEvent tells whether a type is none that an event can be read into.
func noEvent(t string) bool {
	return strings.HasPrefix(t, "...") || strings.HasPrefix(t, "func") || strings.HasPrefix(t, "chan ") || t == Writer || t == Request
}

// match tells whether a list begins with the first type, and has the second after it or at its begin.
func match(list []string, first, second string) (a, b bool) {
	a = len(list) > 0 && list[0] == first
	if a {
		list = list[1:]
	}
	return a, len(list) > 0 && list[0] == second
}

func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}
