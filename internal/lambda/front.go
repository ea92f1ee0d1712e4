package lambda

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// front makes invocations of requests.
type front struct {
	config Config
	broker *broker
}

// message is what callers get to know of an error.
type message struct {
	Message   string `json:"message"`
	ErrorType string `json:"errorType,omitempty"`
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := readAll(r.Body, maxRequest)
	switch {
	case errors.Is(err, errLong):
		w.Header().Set("Connection", "close") // the rest is not read
		answer(w, http.StatusRequestEntityTooLarge, message{"the body is longer than 6 MiB, which a function takes at most", "RequestTooLarge"})
		return
	case err != nil:
		answer(w, http.StatusBadRequest, message{"the body cannot be read", "InvalidRequestContent"})
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/2015-03-31/functions/"); ok && f.config.Invoke && r.Method == http.MethodPost {
		if name, ok := strings.CutSuffix(rest, "/invocations"); ok && name != "" && !strings.Contains(name, "/") {
			f.plain(w, r, body)
			return
		}
	}
	if r.Method == http.MethodGet && r.URL.Path == "/2018-06-01/ping" { // the health check of the platform calls no function
		if f.config.Invoke {
			w.Header().Set("X-Gitd-Invoke-Api", "1") // so that gitd functions invoke knows
		}
		_, _ = io.WriteString(w, "pong")
		return
	}
	if f.config.Signature == signatureEvent || f.config.Signature == "" && isEvent(r.Header) {
		f.event(w, r, body)
		return
	}
	f.gateway(w, r, body)
}

// invoke calls the function, and says what of that is to be logged. false says that there is no more to answer: the client has gone, or knows that
// the function is busy.
func (f *front) invoke(w http.ResponseWriter, r *http.Request, payload []byte, client string) (result, bool) {
	inv, res, err := f.broker.invoke(r.Context(), payload, client, r.Header.Get("X-Amzn-Trace-Id"))
	if errors.Is(err, errBusy) {
		answer(w, http.StatusServiceUnavailable, message{err.Error(), "ServiceException"})
	}
	if err != nil {
		return result{}, false
	}
	w.Header().Set("X-Amzn-Requestid", inv.id)
	if res.errorType != "" {
		f.config.Log("invocation %s failed: %s", inv.id, told(res))
	}
	return res, true
}

// told is an error for the log: its type and message, on one line.
func told(res result) string {
	var e functionError
	if json.Unmarshal(res.body, &e) != nil || e.Message == "" {
		return res.errorType
	}
	if len(e.Message) > 1000 {
		e.Message = e.Message[:1000] + "…"
	}
	return res.errorType + ": " + strconv.Quote(e.Message)
}

// plain is the call of the Invoke API: the body is the event, the answer is what the function answered.
func (f *front) plain(w http.ResponseWriter, r *http.Request, body []byte) {
	client, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-Client-Context"))
	if err != nil || len(client) > 3583 {
		answer(w, http.StatusBadRequest, message{"X-Amz-Client-Context is not base64, or longer than 3583 bytes", "InvalidParameterValueException"})
		return
	}
	kind := r.Header.Get("X-Amz-Invocation-Type")
	switch kind {
	case "DryRun":
		w.WriteHeader(http.StatusNoContent)
		return
	case "", "RequestResponse", "Event":
	default:
		answer(w, http.StatusBadRequest, message{"X-Amz-Invocation-Type is RequestResponse, Event or DryRun", "InvalidParameterValueException"})
		return
	}
	res, ok := f.invoke(w, r, body, string(client))
	if !ok {
		return
	}
	h := w.Header()
	h.Set("X-Amz-Executed-Version", "$LATEST")
	status := http.StatusOK
	if res.errorType != "" {
		h.Set("X-Amz-Function-Error", "Unhandled")
		if res.errorType == errExit {
			status = http.StatusBadGateway
		}
	}
	if kind == "Event" { // the platform must not stop the instance before the function has ended
		drain(res)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if res.contentType == "" {
		res.contentType = "application/json"
	}
	h.Set("Content-Type", res.contentType)
	w.WriteHeader(status)
	f.write(w, res, nil)
}

// failure answers a request whose function has failed. What went wrong is in the log, its type is told.
func (f *front) failure(w http.ResponseWriter, res result) {
	status := http.StatusInternalServerError
	switch res.errorType {
	case errExit, errTooLarge, "Runtime.TruncatedResponse":
		status = http.StatusBadGateway
	case errTimeout:
		status = http.StatusGatewayTimeout
	}
	w.Header().Set("X-Amz-Function-Error", "Unhandled")
	answer(w, status, message{"Internal Server Error", res.errorType})
}

// write writes an answer's body, a streamed one as it comes. What was read of a stream before comes first.
func (f *front) write(w http.ResponseWriter, res result, first []byte) {
	if res.stream == nil {
		_, _ = w.Write(res.body) // the client has gone
		return
	}
	defer close(res.done)
	flush := http.NewResponseController(w)
	_ = flush.SetWriteDeadline(res.until) // a client that does not read must not hold the runtime; a server's connection can
	if _, err := w.Write(first); err == nil {
		_ = flush.Flush() // a writer that cannot is one that does not wait
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := res.stream.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				break
			}
			_ = flush.Flush()
		}
		if err == io.EOF {
			if broke := res.broke(); broke != "" {
				f.config.Log("a streamed answer failed: %s", broke)
				panic(http.ErrAbortHandler)
			}
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client must see that the answer is not complete
		}
	}
	_, _ = io.Copy(io.Discard, res.stream) // the client has gone; the runtime is let through, in the time that it has
}

// drain reads what a function answers to the end, or until its time is over.
func drain(res result) {
	if res.stream != nil {
		_, _ = io.Copy(io.Discard, res.stream)
		close(res.done)
	}
}
