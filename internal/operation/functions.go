package operation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/function"
)

// Function is an app that serves a function.
type Function struct {
	App       string             `json:"app"`
	Live      int                `json:"live"` // version that serves
	Contract  function.Contract  `json:"contract"`
	Target    string             `json:"target"`              // its name in the code; of Lambda, the handler
	Signature function.Signature `json:"signature,omitempty"` // what it is called with; of Lambda, none says that it takes requests and events
	Language  string             `json:"language"`
	State     string             `json:"state"`         // "live", or "stopped" by ps stop
	URL       string             `json:"url,omitempty"` // where it answers
}

// Functions lists the functions that the caller may read.
var Functions = Operation[OfServer, []Function]{
	Declaration{Name: "functions", Does: "List the functions: apps that are built of a handler", Verb: app.VerbUse, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfServer) ([]Function, error) {
		all, standings, stops, err := c.standing(ctx)
		if err != nil {
			return nil, err
		}
		list := []Function{}
		for _, a := range all {
			live := standings[a.Name].Live
			if live == 0 {
				continue
			}
			s, err := c.functionOf(ctx, a.Name, live)
			if err != nil {
				return nil, err
			}
			if s == nil {
				continue
			}
			f := Function{App: a.Name, Live: live, Contract: s.Contract, Target: s.Target, Signature: s.Signature, Language: s.Language, State: "live", URL: c.URL(a.Name)}
			if _, stopped := stops[a.Name]; stopped {
				f.State = "stopped"
			}
			list = append(list, f)
		}
		return list, nil
	},
}

// functionOf reads the function that a release serves; nil for an app that is none.
func (c call) functionOf(ctx context.Context, name string, version int) (*function.Spec, error) {
	manifest, err := c.Store.Ledger(name).Service(ctx, version)
	if err != nil {
		return nil, err
	}
	var s servingv1.Service
	if err := json.Unmarshal(manifest, &s); err != nil {
		return nil, err
	}
	return function.Of(s.Spec.Template.Annotations)
}

// InvokeOf asks for one call of a function.
type InvokeOf struct {
	OfApp
	Method  string // "" for POST
	Path    string // "" for the function's own
	Headers http.Header
	Data    []byte
	Event   EventOf
	Timeout time.Duration // 0 for DefaultInvoke
	Keep    bool          // the body is returned, at most MaxAnswer bytes of it, and not written to Out
	Began   func(Answer)  // called with status and headers before the body; may be nil
	Out     io.Writer
}

// EventOf are the attributes of a CloudEvent.
type EventOf struct{ Type, Source, ID string }

// Limits of a call.
const (
	DefaultInvoke = 5 * time.Minute
	MaxInvoke     = time.Hour
	MaxData       = 32 << 20 // bytes that a call sends
	MaxAnswer     = 8 << 20  // bytes of an answer that is kept
)

// Answer is what a function answered.
type Answer struct {
	Status        int      `json:"status"`
	Headers       []Header `json:"headers"` // by name
	Body          string   `json:"body,omitempty"`
	Base64        bool     `json:"base64,omitempty"`        // the body is no text, and is written in base64
	FunctionError string   `json:"functionError,omitempty"` // of AWS Lambda: the function failed
}

// Header is one header of an answer.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// OK says whether the call succeeded: a status of 200 to 299, and no error of a handler of AWS Lambda.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 && a.FunctionError == "" }

// lambdaPath is where a function of AWS Lambda takes an event as it is, where that is allowed: its health check at lambdaHealth tells by a header.
const (
	lambdaPath   = "/2015-03-31/functions/function/invocations"
	lambdaHealth = "/2018-06-01/ping"
	lambdaOpen   = "X-Gitd-Invoke-Api"
)

// Invoke calls a function, the way of a client's request.
//
// It takes the right to read the app, and no more: everyone who reaches the app's address can do the same. So the request counts as one of such a client, and
// never as one of a trusted proxy.
var Invoke = Operation[InvokeOf, Answer]{
	Declaration{Name: "functions invoke", Args: "APP", Does: "Call a function with what standard input has, and print its answer", Verb: app.VerbRead, Needs: NeedsServer, Stdin: true, Streams: true},
	func(ctx context.Context, c call, in InvokeOf) (Answer, error) {
		live, err := c.Store.Ledger(c.app).Live(ctx)
		if app.CodeOf(err) == app.CodeNotFound {
			return Answer{}, app.Errorf(app.CodeNotFound, "push it first", "nothing of %s is live yet", c.app)
		}
		if err != nil {
			return Answer{}, err
		}
		spec, err := c.functionOf(ctx, c.app, live.Version)
		if err != nil {
			return Answer{}, err
		}
		if spec == nil {
			return Answer{}, app.Errorf(app.CodeInvalidInput, "see the functions: gitd functions; the app answers at "+c.URL(c.app), "%s is an app, and no function", c.app)
		}
		if in.Timeout == 0 {
			in.Timeout = DefaultInvoke
		}
		ctx, cancel := context.WithTimeoutCause(ctx, in.Timeout, app.Errorf(app.CodeLimitExceeded, "give it longer: --timeout", "%s has not answered in %s", c.app, app.Elapsed(in.Timeout)))
		defer cancel()
		send := func(r *http.Request) (*http.Response, error) { return c.Platform.Send(ctx, c.app, r) }
		r, err := in.request(*spec, send)
		if app.CodeOf(err) == app.CodeInvalidInput {
			return Answer{}, err
		}
		if err != nil {
			return Answer{}, unanswered(ctx, c.app, err)
		}
		res, err := send(r)
		if err != nil {
			return Answer{}, unanswered(ctx, c.app, err)
		}
		defer res.Body.Close()
		return in.answer(ctx, c.app, res)
	},
}

// unanswered is the error of a call without an answer.
func unanswered(ctx context.Context, name string, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, deploy.ErrNotFound):
		return notLive(name, err)
	}
	return app.Wrap(err, app.CodeUnavailable, "see what it wrote: gitd logs "+name, "%s gave no answer", name)
}

// openLambda says whether a function of AWS Lambda takes an event as it is.
func openLambda(send func(*http.Request) (*http.Response, error)) (bool, error) {
	r, err := http.NewRequest(http.MethodGet, lambdaHealth, http.NoBody)
	if err != nil {
		return false, err
	}
	res, err := send(r)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && res.Header.Get(lambdaOpen) == "1", nil
}

// request makes the request of the call. A function of CloudEvents gets one in the binary content mode, and one of AWS Lambda its event as it is where it
// takes that, unless something else is asked for. send is asked for the function's health check.
func (in *InvokeOf) request(spec function.Spec, send func(*http.Request) (*http.Response, error)) (*http.Request, error) {
	plain := in.Method == "" && in.Path == ""
	event := in.Event != EventOf{} || plain && spec.Signature == function.CloudEvent && in.Headers.Get("Ce-Specversion") == "" && !strings.HasPrefix(in.Headers.Get("Content-Type"), "application/cloudevents")
	path := cmp.Or(in.Path, "/")
	if plain && spec.Contract == function.Lambda && !event {
		open, err := openLambda(send)
		if err != nil {
			return nil, err
		}
		if open {
			path = lambdaPath
		}
	}
	method := cmp.Or(in.Method, http.MethodPost)
	r, err := http.NewRequest(method, path, bytes.NewReader(in.Data))
	if err != nil || !strings.HasPrefix(path, "/") || r.URL.Host != "" {
		return nil, app.Errorf(app.CodeInvalidInput, "give a path such as /orders?id=7, and a method such as GET", "%s %q is not a request", app.Clip(app.Plain(method), 20), app.Clip(path, 100))
	}
	for name, values := range in.Headers {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "gitd-invoke")
	}
	if r.Header.Get("Content-Type") == "" && len(in.Data) > 0 {
		r.Header.Set("Content-Type", contentType(in.Data))
	}
	if event {
		for name, value := range map[string]string{"Ce-Type": cmp.Or(in.Event.Type, "io.gitd.invoke"), "Ce-Source": cmp.Or(in.Event.Source, "/gitd/functions/invoke"), "Ce-Id": cmp.Or(in.Event.ID, rand.Text()), "Ce-Specversion": "1.0", "Ce-Time": time.Now().UTC().Format(time.RFC3339Nano)} {
			r.Header.Set(name, percent(value))
		}
	}
	return r, nil
}

// percent writes a value for a header of a CloudEvent: spaces, quotes, percent signs and what is not printable ASCII are encoded.
func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c == '"' || c == '%' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// contentType is the type of data that comes without one.
func contentType(data []byte) string {
	switch {
	case json.Valid(data):
		return "application/json"
	case utf8.Valid(data):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// answer reads what came back.
func (in *InvokeOf) answer(ctx context.Context, name string, res *http.Response) (Answer, error) {
	a := Answer{Status: res.StatusCode, Headers: []Header{}, FunctionError: res.Header.Get("X-Amz-Function-Error")}
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		for _, v := range res.Header[name] {
			a.Headers = append(a.Headers, Header{name, v})
		}
	}
	if in.Began != nil {
		in.Began(a)
	}
	var kept bytes.Buffer
	out, limit := in.Out, int64(1<<62)
	if in.Keep {
		out, limit = &kept, MaxAnswer
	}
	n, err := io.Copy(out, io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return a, context.Cause(ctx)
	case err != nil:
		return a, app.Wrap(err, app.CodeUnavailable, "see what it wrote: gitd logs "+name, "the answer of %s ended early", name)
	case in.Keep && n > limit:
		return a, app.Errorf(app.CodeLimitExceeded, "leave out --json", "the answer of %s has more than %s", name, app.Size(MaxAnswer))
	}
	a.Body = kept.String()
	if !utf8.Valid(kept.Bytes()) {
		a.Body, a.Base64 = base64.StdEncoding.EncodeToString(kept.Bytes()), true
	}
	return a, nil
}
