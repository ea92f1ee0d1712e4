package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

// CloudEvent serves a function that takes a CloudEvent and may answer with one. What instance may be is said of HTTP.
func CloudEvent(f func(context.Context, cloudevents.Event) (*cloudevents.Event, error), instance any) {
	h, err := eventHandler(f)
	if err != nil {
		logf("%v", err)
		os.Exit(1)
	}
	run(h, instance)
}

var errPanic = errors.New("the function panicked")

// eventHandler receives events of both content modes.
func eventHandler(f func(context.Context, cloudevents.Event) (*cloudevents.Event, error)) (http.Handler, error) {
	protocol, err := cloudevents.NewHTTP()
	if err != nil {
		return nil, err
	}
	receiver, err := cloudevents.NewHTTPReceiveHandler(context.Background(), protocol, func(ctx context.Context, e cloudevents.Event) (*cloudevents.Event, error) {
		reply, err := call(ctx, f, e)
		if err == nil && reply != nil {
			if bad := reply.Validate(); bad != nil {
				reply, err = nil, fmt.Errorf("the function's answer is no CloudEvent: %s", strings.Join(strings.Fields(bad.Error()), " "))
			}
		}
		if err != nil && !cloudevents.IsACK(err) && !errors.Is(err, errPanic) {
			logf("event %s of %s: %v", e.ID(), e.Source(), err)
		}
		return reply, err
	})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := strings.ToLower(r.Header.Get("Content-Type"))
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			failed(w, http.StatusMethodNotAllowed, "events come by POST")
		case strings.HasPrefix(kind, "application/cloudevents-batch"):
			failed(w, http.StatusUnsupportedMediaType, "a batch of events is not taken: send the events one by one")
		case strings.HasPrefix(kind, "application/cloudevents") && !strings.HasPrefix(kind, "application/cloudevents+json"):
			failed(w, http.StatusUnsupportedMediaType, "events in this format are not taken: send application/cloudevents+json")
		case !strings.HasPrefix(kind, "application/cloudevents") && r.Header.Get("Ce-Specversion") == "":
			failed(w, http.StatusBadRequest, "this is no CloudEvent: its Content-Type is not application/cloudevents+json, and there is no header ce-specversion")
		default:
			receive(w, r, receiver)
		}
	}), nil
}

// maxEvent bounds an event, in bytes: it is read into memory as a whole. The Functions Framework takes as much.
const maxEvent = 10 << 20

// receive gives an event that is complete to the receiver.
func receive(w http.ResponseWriter, r *http.Request, receiver http.Handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		failed(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the event is too large: at most %d MiB are taken", maxEvent>>20))
		return
	}
	if err != nil {
		failed(w, http.StatusBadRequest, "the event cannot be read")
		return
	}
	if err := complete(r.Header, body); err != nil {
		failed(w, http.StatusBadRequest, "this is no CloudEvent: "+err.Error())
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	receiver.ServeHTTP(w, r)
}

// complete says what an event lacks: the SDK answers that without a word, and a text that is no JSON with a status that makes brokers send it again.
func complete(h http.Header, body []byte) error {
	has := func(name string) string { return h.Get("Ce-" + name) }
	if h.Get("Ce-Specversion") == "" {
		var e map[string]json.RawMessage
		if json.Unmarshal(body, &e) != nil {
			return errors.New("it is not a JSON object")
		}
		has = func(name string) (s string) {
			_ = json.Unmarshal(e[name], &s) // what is no string is none
			return s
		}
	}
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if has(name) == "" {
			return errors.New(name + " is missing")
		}
	}
	return nil
}

// call calls the function. Its panic is an error.
func call(ctx context.Context, f func(context.Context, cloudevents.Event) (*cloudevents.Event, error), e cloudevents.Event) (reply *cloudevents.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			logf("the function panicked: %v\n%s", p, debug.Stack())
			reply, err = nil, errPanic
		}
	}()
	return f(ctx, e)
}
