package lambda

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// step is what happens at the runtime API: a request of the runtime, in which {id} is the invocation that it was given last and {old} the one before, or "call", by which the
// function is called, or "result", what came of a call.
type step struct {
	do     string
	header string // "Name: value"
	body   string
	status int
	want   []string // parts of the answer: headers as "Name: value", then the body
	lacks  string   // what the answer must not have
}

// runtime is one that does the steps.
type runtime struct {
	t       *testing.T
	broker  *broker
	api     http.Handler
	id, old string
	results chan result
	failed  []string // errors of the initialization
}

func newRuntime(t *testing.T) *runtime {
	r := &runtime{t: t, results: make(chan result, 9)}
	r.broker = newBroker(time.Minute, func(*invocation) { t.Error("the runtime is ended") })
	r.broker.began(func() {})
	r.api = (&api{broker: r.broker, arn: "arn:aws:lambda:us-east-1:000000000000:function:f", failed: func(e *initError) { r.failed = append(r.failed, e.Error()) }}).Handler()
	t.Cleanup(func() { r.broker.ended("the test is over") })
	return r
}

func (r *runtime) do(s step) {
	r.t.Helper()
	switch s.do {
	case "call":
		go func() {
			name, value, _ := strings.Cut(s.header, ": ")
			said := map[string]string{name: value}
			_, res, _ := r.broker.invoke(context.Background(), []byte(s.body), said["Client"], said["Trace"])
			r.results <- res
		}()
		return
	case "result":
		res := <-r.results
		r.check(s, "Content-Type: "+res.contentType+"\nError-Type: "+res.errorType+"\n"+string(res.body))
		return
	}
	method, path, _ := strings.Cut(s.do, " ")
	path = strings.NewReplacer("{id}", r.id, "{old}", r.old).Replace(path)
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second) // a question for an invocation waits for one
	defer cancel()
	q := httptest.NewRequestWithContext(ctx, method, "/2018-06-01/"+path, strings.NewReader(s.body))
	if name, value, ok := strings.Cut(s.header, ": "); ok {
		q.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	r.api.ServeHTTP(w, q)
	if w.Code != s.status {
		r.t.Errorf("%s: %d %s, want %d", s.do, w.Code, w.Body, s.status)
	}
	var text strings.Builder
	_ = w.Header().Write(&text) // to memory
	r.check(s, text.String()+w.Body.String())
	if id := w.Header().Get("Lambda-Runtime-Aws-Request-Id"); id != "" && id != r.id {
		r.id, r.old = id, r.id
	}
}

func (r *runtime) check(s step, got string) {
	r.t.Helper()
	for _, w := range s.want {
		if !strings.Contains(got, strings.ReplaceAll(w, "{id}", r.id)) {
			r.t.Errorf("%s: no %.200q in %.600s", s.do, w, got)
		}
	}
	if s.lacks != "" && strings.Contains(got, s.lacks) {
		r.t.Errorf("%s: %.200q in %.600s", s.do, s.lacks, got)
	}
}

// The steps that most rows begin with.
var (
	call      = step{do: "call", body: `{"n":1}`}
	next      = step{do: "GET runtime/invocation/next", status: 200, want: []string{`{"n":1}`}}
	respond1  = step{do: "POST runtime/invocation/{id}/response", body: "{}", status: 202, want: []string{`{"status":"OK"}`, "Content-Type: application/json"}}
	fail1     = step{do: "POST runtime/invocation/{id}/error", body: "{}", status: 202, want: []string{`{"status":"OK"}`}}
	forbidden = []string{`"errorType":"InvalidStateTransition"`, "Content-Type: application/json"}
	badID     = []string{`"errorType":"InvalidRequestID"`, "Content-Type: application/json"}
)

// What AWS' runtime interface emulator holds its runtime API to: its states, requests that do not fit them, headers, errors and sizes.
func TestAPI(t *testing.T) {
	const cause = "Content-Type: application/vnd.aws.lambda.error.cause+json"
	large := strings.Repeat("a", maxResponse+1)
	post := func(path string, status int, want []string) step {
		return step{do: "POST runtime/" + path, body: "{}", status: status, want: want}
	}
	var sizes []step
	for i := range 6 {
		body := strings.Repeat("a", i%3*128<<10)
		sizes = append(sizes, step{do: "call", body: body}, step{do: next.do, status: 200, want: []string{"Content-Length: " + strconv.Itoa(len(body)) + "\r\n", "Sampled=0\r\n" + body}, lacks: "Sampled=0\r\n" + body + "a"}, respond1)
	}
	for name, steps := range map[string][]step{
		"ping":                 {{do: "GET ping", status: 200, want: []string{"pong"}}},
		"an unknown path":      {{do: "POST runtime/unsupported", status: 404, want: []string{"404 page not found"}}},
		"an unknown method":    {{do: "DELETE runtime/invocation/ABC/error", status: 405}, {do: "POST runtime/invocation/next", status: 405}},
		"no snapshots":         {{do: "GET runtime/restore/next", status: 404}, {do: "GET credentials", status: 404}},
		"no extensions":        {{do: "POST extension/register", status: 404}},
		"XML is not to be had": {{do: "POST runtime/invocation/x-y-z/error", header: "Accept: application/xml", status: 400, want: badID}},

		"an answer":             {call, next, respond1, {do: "result", want: []string{"Error-Type: \n", "{}"}}},
		"an error":              {call, next, fail1, {do: "result", want: []string{"Error-Type: Runtime.Unknown\n", "{}"}}},
		"one after the other":   {call, next, respond1, call, next, fail1, call, next, respond1},
		"the same one again":    {call, next, next, respond1},
		"before the first next": {post("invocation/a/response", 400, badID), post("invocation/a/error", 400, badID)},
		"an answer of another":  {call, next, post("invocation/other/response", 400, badID), respond1, {do: "result"}, call, next, post("invocation/{old}/response", 400, badID), respond1},
		"an error of another":   {call, next, post("invocation/other/error", 400, badID), fail1, {do: "result"}, call, next, post("invocation/{old}/error", 400, badID), fail1},
		"two answers":           {call, next, respond1, post("invocation/{id}/response", 403, forbidden)},
		"two errors":            {call, next, fail1, post("invocation/{id}/error", 403, forbidden)},
		"an answer, an error":   {call, next, respond1, post("invocation/{id}/error", 403, forbidden)},
		"an error, an answer":   {call, next, fail1, post("invocation/{id}/response", 403, forbidden)},
		"answered, and another": {call, next, respond1, post("invocation/other/response", 400, badID), post("invocation/other/error", 400, badID), post("init/error", 403, forbidden), call, next, respond1},
		"failed, and another":   {call, next, fail1, post("invocation/other/response", 400, badID), post("invocation/other/error", 400, badID), post("init/error", 403, forbidden), call, next, respond1},

		"headers of an invocation": {{do: "call", header: `Client: {"k":1}`, body: `{"n":1}`}, {do: next.do, status: 200, want: []string{"Content-Type: application/json", "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:f",
			"Lambda-Runtime-Deadline-Ms: 1", "Lambda-Runtime-Trace-Id: Root=1-", `Lambda-Runtime-Client-Context: {"k":1}`, "Content-Length: 7"}}},
		"the client's trace":        {{do: "call", header: "Trace: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"}, {do: next.do, status: 200, want: []string{"Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1\r\n"}}},
		"no client's context":       {call, {do: next.do, status: 200, lacks: "Client-Context"}},
		"no identity of Cognito":    {call, {do: next.do, status: 200, lacks: "Cognito"}},
		"no tenant":                 {call, {do: next.do, status: 200, lacks: "Tenant"}},
		"events of changing length": sizes,
		"any content":               {call, next, {do: respond1.do, header: "Content-Type: image/png", body: "\x89PNG", status: 202}, {do: "result", want: []string{"Content-Type: image/png", "\x89PNG"}}},
		"no content":                {call, next, {do: respond1.do, status: 202}, {do: "result", want: []string{"Error-Type: \n"}}},
		"as large as may be":        {call, next, {do: respond1.do, body: large[1:], status: 202}, {do: "result", want: []string{"Error-Type: \n"}}},
		"too large": {call, next, {do: respond1.do, body: large, status: 413, want: []string{`"errorType":"RequestEntityTooLarge"`, `"Exceeded maximum allowed payload size (6291556 bytes)."`}},
			{do: "result", want: []string{"Error-Type: Function.ResponseSizeTooLarge", `{"errorMessage":"Response payload size (6291557 bytes) exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`}},
			post("invocation/{id}/response", 403, forbidden), call, next, respond1},
		"an unknown mode": {call, next, {do: respond1.do, header: "Lambda-Runtime-Function-Response-Mode: odd", status: 400, want: []string{`{"errorMessage":"Invalid function response mode","errorType":"InvalidFunctionResponseMode"}`}},
			{do: "result", want: []string{"Error-Type: Runtime.InvalidResponseModeHeader"}}, call, next, respond1},
		"an unknown mode of another": {call, next, {do: "POST runtime/invocation/other/response", header: "Lambda-Runtime-Function-Response-Mode: odd", status: 400, want: badID}, respond1},

		"an error's type":           {call, next, {do: fail1.do, header: "Lambda-runtime-functioN-erroR-typE: Function.Odd", body: "My byte array is yours", status: 202}, {do: "result", want: []string{"Error-Type: Function.Odd", "My byte array is yours"}}},
		"an error's content":        {call, next, {do: fail1.do, header: "Content-Type: application/MyBinaryType", body: "\x00\xff", status: 202}, {do: "result", want: []string{"Content-Type: application/MyBinaryType", "\x00\xff"}}},
		"an error's cause":          {call, next, {do: fail1.do, header: cause, body: `{"errorMessage":"m","errorType":"t","stackTrace":["s"],"errorCause":{"paths":[]}}`, status: 202}, {do: "result", want: []string{"Content-Type: application/json", "\n" + `{"errorMessage":"m","errorType":"t","stackTrace":["s"]}`}}},
		"a cause that is none":      {call, next, {do: fail1.do, header: cause, body: `{"foo":bar}`, status: 202}, {do: "result", want: []string{"Content-Type: application/octet-stream", "\n" + `"Invalid error body"`}}},
		"an error's cause, by name": {call, next, {do: fail1.do, header: "Lambda-Runtime-Function-XRay-Error-Cause: {invalid", body: "foo", status: 202}, {do: "result", want: []string{"foo"}}},

		"a large cause":                 {call, next, {do: fail1.do, header: "Lambda-Runtime-Function-XRay-Error-Cause: {\"working_directory\":\"" + large[:64<<10+1] + "\"}", body: "foo", status: 202}, {do: "result", want: []string{"\nfoo"}}},
		"a cause in UTF-8":              {call, next, {do: fail1.do, header: `Lambda-Runtime-Function-XRay-Error-Cause: {"exceptions":[],"working_directory":"κόσμε","paths":[]}`, body: "foo", status: 202}, {do: "result", want: []string{"\nfoo"}}},
		"a cause of another kind":       {call, next, {do: fail1.do, header: cause, body: `{"errorMessage":"m","errorType":"t","errorCause":"x"}`, status: 202}, {do: "result", want: []string{"\n" + `{"errorMessage":"m","errorType":"t"}`}}},
		"a large cause in the document": {call, next, {do: fail1.do, header: cause, body: `{"errorMessage":"m","errorType":"t","errorCause":{"working_directory":"` + large[:64<<10+1] + `"}}`, status: 202}, {do: "result", want: []string{"\n" + `{"errorMessage":"m","errorType":"t"}`}}},
		"an error in a mode":            {call, next, {do: fail1.do, header: "Lambda-Runtime-Function-Response-Mode: odd", body: "foo", status: 202}, {do: "result", want: []string{"\nfoo"}}},

		"an error of the initialization":              {post("init/error", 202, []string{`{"status":"OK"}`})},
		"one without a word":                          {{do: "POST runtime/init/error", status: 202}},
		"one after the function was called":           {call, next, post("init/error", 403, forbidden), respond1},
		"one of the initialization twice":             {post("init/error", 202, nil), post("init/error", 403, forbidden)},
		"what could not be loaded gets no invocation": {post("init/error", 202, nil), {do: next.do, status: 403, want: forbidden}},
		"what could not be loaded answers none":       {post("init/error", 202, nil), post("invocation/a/response", 400, badID), post("invocation/a/error", 400, badID)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRuntime(t)
			for _, s := range steps {
				r.do(s)
			}
		})
	}
}

// A streamed answer may fail after it has begun: the runtime says so in a trailer, and the client must not take what it got for the whole.
func TestAPI_StreamFails(t *testing.T) {
	for _, kind := range []string{integration, "text/plain"} {
		r := newRuntime(t)
		runtimes, clients := httptest.NewServer(r.api), httptest.NewServer(&front{config: Config{Invoke: true, Log: t.Logf}, broker: r.broker})
		defer runtimes.Close()
		defer clients.Close()
		go func() {
			asked, err := http.Get(runtimes.URL + "/2018-06-01/runtime/invocation/next")
			if err != nil {
				t.Error(err)
				return
			}
			asked.Body.Close()
			body := "half"
			if kind == integration {
				body = `{"statusCode":200}` + strings.Repeat("\x00", 8) + body
			}
			q, _ := http.NewRequest("POST", runtimes.URL+"/2018-06-01/runtime/invocation/"+asked.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", io.MultiReader(strings.NewReader(body)))
			q.Header.Set("Content-Type", kind)
			q.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
			q.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": {"Function.Oops"}, "Lambda-Runtime-Function-Error-Body": {"eyJlcnJvck1lc3NhZ2UiOiJvaCBubyJ9"}}
			answered, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			answered.Body.Close()
		}()
		path := "/"
		if kind != integration {
			path = "/2015-03-31/functions/function/invocations"
		}
		got, err := http.Post(clients.URL+path, "", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(got.Body)
		got.Body.Close()
		if string(text) != "half" || err == nil {
			t.Errorf("%s: the client takes %q for the whole answer (%v)", kind, text, err)
		}
	}
}
