package webhook

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Found is a webhook of what is live.
type Found struct {
	Webhook
	App     string
	AppID   int64
	Secrets [][]byte // which its variables have
}

// Handler takes the requests of webhooks, at Path, and gives their events to the broker.
type Handler struct {
	// Find returns a webhook of what is live of an app, or an *app.Error: CodeNotFound where there is none.
	Find func(ctx context.Context, of, name string) (Found, error)
	// Send is that of event.Platform.
	Send func(ctx context.Context, broker string, e event.Event, from event.Sender) (event.Receipt, error)
	Log  func(format string, args ...any)

	wait time.Duration // for a body to arrive; 0 for bodyTime

	mu    sync.Mutex
	under map[int64]int // guarded by mu: requests whose body is held, by app
}

// Bounds of what is held for those who may not have the secret.
const (
	mostHeld = 16               // requests of one app
	bodyTime = 10 * time.Second // for the body to arrive
)

// Takes says whether a request is one to a webhook, by its path.
func Takes(path string) bool { return strings.HasPrefix(path, prefix) }

// ServeHTTP takes one request. It answers 202 when the event is on disk.
func (s *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	of, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, prefix), "/")
	found, err := s.find(r.Context(), of, name)
	switch {
	case app.CodeOf(err) == app.CodeNotFound:
		say(w, http.StatusNotFound, "there is no such webhook")
		return
	case err != nil:
		s.Log("webhook %s of %s: %v", name, of, err)
		again(w, "the webhook cannot be looked at: send the request again in a moment")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		say(w, http.StatusMethodNotAllowed, "the requests of a webhook are sent by POST")
		return
	}
	p, err := readProof(found.Kind, r.Header)
	if err != nil {
		unproven(w, found.Kind, err)
		return
	}
	leave := s.enter(found.AppID)
	if leave == nil {
		again(w, "too many requests to webhooks of this app are under way: send it again in a moment")
		return
	}
	defer leave()
	if body := s.body(w, r); body != nil {
		s.take(w, r, &found, &p, body)
	}
}

func (s *Handler) find(ctx context.Context, of, name string) (Found, error) {
	if parsed, err := app.ParseName(of); err != nil || parsed != of || event.CheckName(name) != nil {
		return Found{}, app.Errorf(app.CodeNotFound, "see gitd webhooks APP", "there is no such webhook")
	}
	return s.Find(ctx, of, name)
}

// enter notes that the body of a request is held; nil where as many are as may be.
func (s *Handler) enter(id int64) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[id] >= mostHeld {
		return nil
	}
	if s.under == nil {
		s.under = map[int64]int{}
	}
	s.under[id]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.under[id]--; s.under[id] == 0 {
			delete(s.under, id)
		}
	}
}

// body reads the body of a request; nil where it answered because it cannot.
func (s *Handler) body(w http.ResponseWriter, r *http.Request) []byte {
	if r.ContentLength > event.MaxSize {
		tooLarge(w)
		return nil
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(cmp.Or(s.wait, bodyTime))) // where the connection has none, the server's own holds
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, event.MaxSize))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		tooLarge(w)
	case err != nil:
		say(w, http.StatusBadRequest, "the request did not arrive whole")
	default:
		return body
	}
	return nil
}

func tooLarge(w http.ResponseWriter) {
	say(w, http.StatusRequestEntityTooLarge, "the event of this request is larger than "+app.Size(event.MaxSize)+", with its attributes")
}

// take checks the proof of a request, and gives its events to the broker. Where the broker takes only some of several, the request is not taken: sent again, it brings the others,
// and those of before are the same events.
func (s *Handler) take(w http.ResponseWriter, r *http.Request, found *Found, p *proof, body []byte) {
	now := time.Now()
	if err := p.check(found.Secrets, body, now); err != nil {
		unproven(w, found.Kind, err)
		return
	}
	all, err := found.toEvents(found.App, r.Header, body, now)
	switch {
	case err != nil:
		say(w, http.StatusBadRequest, err.Error())
		return
	case len(all) == 0:
		say(w, http.StatusOK, "the webhook works")
		return
	}
	from := event.Sender{Kind: event.FromSource, Name: "webhook " + found.App + "/" + found.Name, ID: found.AppID}
	for _, e := range all {
		receipt, err := s.Send(r.Context(), found.Broker, *e, from)
		if err != nil {
			w.Header().Del("Gitd-Event")
			s.refused(w, found, err)
			return
		}
		if receipt.Number != 0 {
			w.Header().Add("Gitd-Event", "e"+strconv.FormatInt(receipt.Number, 10))
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// refused answers a request whose event the broker does not take.
func (s *Handler) refused(w http.ResponseWriter, found *Found, err error) {
	message, _ := app.Explain(err)
	switch app.CodeOf(err) {
	case app.CodeInvalidInput:
		say(w, http.StatusBadRequest, app.Plain(message))
	case app.CodeLimitExceeded:
		tooLarge(w)
	case app.CodeUnavailable:
		again(w, app.Plain(message))
	default:
		s.Log("webhook %s of %s: its event is not taken: %v", found.Name, found.App, err)
		again(w, "the event is not taken: send the request again later")
	}
}

// unproven answers a request that does not come from who has the secret.
func unproven(w http.ResponseWriter, k Kind, err error) {
	scheme := "Signature"
	if k == S3 {
		scheme = "Bearer"
	}
	w.Header().Set("WWW-Authenticate", scheme+` realm="webhook"`)
	say(w, http.StatusUnauthorized, err.Error())
}

// again answers a request that may be taken later.
func again(w http.ResponseWriter, sentence string) {
	w.Header().Set("Retry-After", "10")
	say(w, http.StatusServiceUnavailable, sentence)
}

// say answers with one sentence.
func say(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, sentence+"\n")
}
