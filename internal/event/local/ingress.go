package local

import (
	"net/http"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/ingress"
)

// Outside returns the handler that takes events over HTTP from those who have a token of the broker.
func (p *Platform) Outside() http.Handler {
	return &ingress.Handler{Send: p.Send, Log: p.o.Log, Sender: ingress.Bearer(p.holder, p.o.Log)}
}

// Inside returns the handler that takes events of an app. Requests come from its own instances alone.
func (p *Platform) Inside(of event.Owner) http.Handler {
	return &ingress.Handler{Send: p.Send, Log: p.o.Log, Sender: func(*http.Request, string) (event.Sender, int, string) {
		return event.Sender{Kind: event.FromApp, Name: of.App, ID: of.ID}, 0, ""
	}}
}
