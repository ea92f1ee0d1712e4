// Package ingress is a broker's side to HTTP: it takes events, from those who have a token of the broker, or from an app of which the platform knows that it sends. Every platform of
// events answers alike.
package ingress

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Handler takes events: POST / for the default broker, POST /NAME for another.
type Handler struct {
	// Send is that of event.Platform.
	Send func(ctx context.Context, broker string, e event.Event, from event.Sender) (event.Receipt, error)
	// Sender returns who sends a request to a broker; else the status with which it is refused, and why.
	Sender func(r *http.Request, broker string) (from event.Sender, status int, why string)
	Log    func(format string, args ...any)
}

// tokenPrefix begins a token, so that people and scanners of secrets know what it is.
const tokenPrefix = "gitdev_"

// NewToken makes a token.
func NewToken() string { return tokenPrefix + strings.ToLower(rand.Text()+rand.Text()) }

// Hash is what is kept of a token.
func Hash(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// Bearer returns the Sender by tokens. holder returns the broker and the name of a token; "" for one that is not known.
func Bearer(holder func(ctx context.Context, token string) (broker, name string, err error), log func(format string, args ...any)) func(r *http.Request, broker string) (event.Sender, int, string) {
	return func(r *http.Request, broker string) (from event.Sender, status int, why string) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return from, http.StatusUnauthorized, "a token of the broker is missing: send Authorization: Bearer TOKEN; gitd events token create NAME makes one"
		}
		of, name, err := holder(r.Context(), strings.TrimSpace(token))
		switch {
		case err != nil:
			log("events: tokens cannot be read: %v", err)
			return from, http.StatusServiceUnavailable, "the broker cannot look at its tokens: try again in a moment"
		case of == "":
			return from, http.StatusUnauthorized, "the token is not one of this broker, or was revoked"
		case of != broker:
			return from, http.StatusForbidden, "the token is one of another broker"
		}
		return event.Sender{Kind: event.FromToken, Name: name}, 0, ""
	}
}

// ServeHTTP takes one event.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	broker := strings.TrimPrefix(r.URL.Path, "/")
	if broker == "" {
		broker = event.DefaultBroker
	}
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		handshake(w, r)
		return
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		say(w, http.StatusMethodNotAllowed, "events are sent by POST")
		return
	}
	if event.CheckName(broker) != nil {
		say(w, http.StatusNotFound, "there is no such broker: POST / is for the default one, POST /NAME for another")
		return
	}
	from, status, why := h.Sender(r, broker)
	if status != 0 {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="events"`)
		}
		say(w, status, why)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2*event.MaxSize)) // in JSON, data is longer than it is
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			say(w, http.StatusRequestEntityTooLarge, "the event is larger than "+app.Size(event.MaxSize))
			return
		}
		say(w, http.StatusBadRequest, "the event did not arrive whole")
		return
	}
	e, err := event.FromHTTP(r.Header, body)
	var receipt event.Receipt
	if err == nil {
		receipt, err = h.Send(r.Context(), broker, e, from)
	}
	if err != nil {
		h.refuse(w, err)
		return
	}
	if receipt.Number != 0 {
		w.Header().Set("Gitd-Event", "e"+strconv.FormatInt(receipt.Number, 10))
	}
	w.WriteHeader(http.StatusAccepted)
}

// refuse answers with the status that an error stands for.
func (h *Handler) refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch app.CodeOf(err) {
	case app.CodeInvalidInput:
		status = http.StatusBadRequest
		if errors.Is(err, event.ErrContentType) {
			status = http.StatusUnsupportedMediaType
		}
	case app.CodeForbidden:
		status = http.StatusForbidden
	case app.CodeLimitExceeded:
		status = http.StatusRequestEntityTooLarge
	case app.CodeNotFound:
		status = http.StatusNotFound
	case app.CodeUnavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "10")
	case app.CodeInternal:
		h.Log("events: an event was not taken: %v", err)
	}
	message, next := app.Explain(err)
	say(w, status, app.Plain(message)+"; "+app.Plain(next))
}

// handshake answers a sender that asks, as webhooks of CloudEvents do, whether it may send here.
func handshake(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", "POST, OPTIONS")
	if origin := r.Header.Get("WebHook-Request-Origin"); origin != "" {
		h.Set("WebHook-Allowed-Origin", origin)
		h.Set("WebHook-Allowed-Rate", "*")
	}
	w.WriteHeader(http.StatusOK)
}

// say answers with one sentence.
func say(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(sentence + "\n"))
}
