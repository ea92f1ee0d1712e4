package lambda

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// initError is what a runtime says that could not load its function.
type initError struct{ functionError }

func (e *initError) Error() string {
	switch {
	case e.Message == "":
		return "the function could not be loaded: " + e.Type
	case e.Type == "":
		return "the function could not be loaded: " + e.Message
	}
	return "the function could not be loaded: " + e.Type + ": " + e.Message
}

// api is the runtime API 2018-06-01, which the runtime calls.
type api struct {
	broker *broker
	arn    string
	failed func(*initError) // told of an error of the initialization
}

// Handler returns the routes of the API.
func (a *api) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", a.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", a.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", a.error)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", a.initError)
	mux.HandleFunc("GET /2018-06-01/ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong") })
	return mux
}

// The answers of the API.
var (
	accepted      = map[string]string{"status": "OK"}
	invalidID     = functionError{"Invalid request ID", "InvalidRequestID"}
	invalidState  = functionError{"State transition is not allowed", "InvalidStateTransition"}
	invalidMode   = functionError{"Invalid function response mode", "InvalidFunctionResponseMode"}
	tooLargeReply = functionError{"Exceeded maximum allowed payload size (" + strconv.Itoa(maxResponse) + " bytes).", "RequestEntityTooLarge"}
)

func (a *api) next(w http.ResponseWriter, r *http.Request) {
	inv, ok := a.broker.next(r.Context())
	switch {
	case !ok:
		answer(w, http.StatusForbidden, invalidState)
		return
	case inv == nil:
		return // the runtime has gone
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", a.arn)
	h.Set("Lambda-Runtime-Trace-Id", inv.trace)
	if inv.client != "" {
		h.Set("Lambda-Runtime-Client-Context", inv.client)
	}
	h.Set("Content-Length", strconv.Itoa(len(inv.payload)))
	_, _ = w.Write(inv.payload) // a runtime that does not read it runs into the timeout
}

// take takes the invocation that a request of the runtime answers; nil says that it is refused. What the runtime sends is read until the
// invocation's deadline: by then it is ended, but what it has started may still hold the connection.
func (a *api) take(w http.ResponseWriter, r *http.Request) *invocation {
	inv, answered := a.broker.take(r.PathValue("id"))
	switch {
	case answered:
		answer(w, http.StatusForbidden, invalidState)
		return nil
	case inv == nil:
		answer(w, http.StatusBadRequest, invalidID)
		return nil
	}
	_ = http.NewResponseController(w).SetReadDeadline(inv.deadline) // a server's connection can
	return inv
}

// end ends an invocation whose answer the runtime has sent. It comes before the runtime knows, which asks for the next then.
func (a *api) end(inv *invocation, r result) {
	a.broker.sent(inv)
	inv.result <- r
}

func (a *api) response(w http.ResponseWriter, r *http.Request) {
	inv := a.take(w, r)
	if inv == nil {
		return
	}
	mode := r.Header.Get("Lambda-Runtime-Function-Response-Mode")
	if mode != "" && mode != "streaming" {
		a.end(inv, failed(inv, errMode, fmt.Sprintf("the runtime answers in the mode %.60q, which there is not", mode)))
		answer(w, http.StatusBadRequest, invalidMode)
		return
	}
	if mode == "streaming" || r.Header.Get("Content-Type") == integration {
		a.stream(w, r, inv)
		return
	}
	body, err := readAll(r.Body, maxResponse)
	switch {
	case errors.Is(err, errLong):
		a.end(inv, tooLarge(r.ContentLength))
		answer(w, http.StatusRequestEntityTooLarge, tooLargeReply)
	case err != nil && !time.Now().Before(inv.deadline):
		a.end(inv, a.broker.timedOut(inv))
	case err != nil:
		a.end(inv, failed(inv, "Runtime.TruncatedResponse", "the response ended early"))
	default:
		a.end(inv, result{body: body, contentType: r.Header.Get("Content-Type")})
		answer(w, http.StatusAccepted, accepted)
	}
}

// stream passes an answer on while the runtime writes it.
func (a *api) stream(w http.ResponseWriter, r *http.Request, inv *invocation) {
	res := result{contentType: r.Header.Get("Content-Type"), stream: r.Body, until: inv.deadline, done: make(chan struct{}), broke: func() string {
		kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type")
		body, _ := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body")) // what is none says nothing
		if kind == "" {
			return ""
		}
		return told(result{errorType: kind, body: body})
	}}
	inv.result <- res
	<-res.done
	a.broker.sent(inv) // before it knows, and asks for the next
	answer(w, http.StatusAccepted, accepted)
}

func (a *api) error(w http.ResponseWriter, r *http.Request) {
	inv := a.take(w, r)
	if inv == nil {
		return
	}
	body, err := readAll(r.Body, maxResponse)
	if err != nil && !time.Now().Before(inv.deadline) {
		a.end(inv, a.broker.timedOut(inv))
		return
	}
	if err != nil {
		body = nil
	}
	kind := errorType(r.Header.Get("Lambda-Runtime-Function-Error-Type"), body)
	if len(body) == 0 {
		body, _ = json.Marshal(functionError{"", kind}) // two strings: cannot fail
	}
	contentType := cmp.Or(r.Header.Get("Content-Type"), "application/json")
	if strings.HasPrefix(contentType, "application/vnd.aws.lambda.error.cause+json") {
		body, contentType = withoutCause(body)
	}
	a.end(inv, result{body: body, contentType: contentType, errorType: kind})
	answer(w, http.StatusAccepted, accepted)
}

func (a *api) initError(w http.ResponseWriter, r *http.Request) {
	if !a.broker.fail() {
		answer(w, http.StatusForbidden, invalidState)
		return
	}
	body, err := readAll(r.Body, 256<<10)
	if err != nil {
		body = nil
	}
	e := &initError{}
	_ = json.Unmarshal(body, &e.functionError) // what is no JSON says nothing
	e.Type = errorType(r.Header.Get("Lambda-Runtime-Function-Error-Type"), body)
	answer(w, http.StatusAccepted, accepted)
	a.failed(e)
}

// tooLarge is the result of an invocation whose answer is. length is below 0 where it is not known.
func tooLarge(length int64) result {
	size := ""
	if length >= 0 {
		size = fmt.Sprintf(" (%d bytes)", length)
	}
	body, _ := json.Marshal(functionError{fmt.Sprintf("Response payload size%s exceeded maximum allowed payload size (%d bytes).", size, maxResponse), errTooLarge}) // two strings: cannot fail
	return result{body: body, contentType: "application/json", errorType: errTooLarge}
}

// withoutCause is an error that comes with its cause, which is for a trace, as callers get it, and its type.
func withoutCause(body []byte) ([]byte, string) {
	var e struct {
		functionError
		Trace []string `json:"stackTrace,omitempty"`
	}
	if json.Unmarshal(body, &e) != nil {
		return []byte(`"Invalid error body"`), "application/octet-stream"
	}
	text, _ := json.Marshal(e) // texts: cannot fail
	return text, "application/json"
}

// errorType is the type of an error that a runtime tells: its header's, else its document's.
func errorType(header string, body []byte) string {
	if header != "" {
		return header
	}
	var e functionError
	if json.Unmarshal(body, &e) == nil && e.Type != "" {
		return e.Type
	}
	return "Runtime.Unknown"
}

var errLong = errors.New("longer than allowed")

// readAll reads all of r, at most limit bytes, or returns errLong.
func readAll(r io.Reader, limit int) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		return nil, errLong
	}
	return b.Bytes(), nil
}
