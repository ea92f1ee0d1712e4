package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/webhook"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// takeRequests has nothing to do: they come in where the apps' requests do.
func (m *machine) takeRequests(context.Context) error { return nil }

// takeEvents answers on the host of the brokers: the requests of webhooks, and events with a token.
func (s *Server) takeEvents(brokers event.Platform, events http.Handler) http.Handler {
	webhooks := &webhook.Handler{Find: s.findWebhook, Send: brokers.Send, Log: s.o.Log}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if webhook.Takes(r.URL.Path) {
			webhooks.ServeHTTP(w, r)
			return
		}
		events.ServeHTTP(w, r)
	})
}

// answerDoor answers the requests from outside that come to a cluster.
func (s *Server) answerDoor() {
	r, ok := s.runner.(*onCluster)
	if !ok {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.brokers.AnswerDoor(s.stopping, s.takeEvents(r.brokers, r.brokers.Outside()))
	}()
	s.onClose(func() error { s.stop(); <-ended; return nil })
}

// webhookURL is where the requests of a webhook go.
func (m *machine) webhookURL(of, name string) string {
	scheme, port, usual := "http", m.s.o.HTTPPort, 80
	if m.s.o.HTTPSPort != 0 {
		scheme, port, usual = "https", m.s.o.HTTPSPort, 443
	}
	host := event.Host + "." + m.s.o.Config.Server.Domain
	if port != 0 && port != usual {
		host += fmt.Sprintf(":%d", port)
	}
	return scheme + "://" + host + webhook.Path(of, name)
}

// findWebhook returns a webhook of what is live of an app, with its secrets as that release has them.
func (s *Server) findWebhook(ctx context.Context, of, name string) (found webhook.Found, err error) {
	a, err := s.store.App(ctx, of)
	if err != nil {
		return found, err
	}
	ledger := s.store.Ledger(of)
	live, err := ledger.Live(ctx)
	if err != nil {
		return found, err
	}
	manifest, err := ledger.Service(ctx, live.Version)
	if err != nil {
		return found, err
	}
	var service servingv1.Service
	if err := json.Unmarshal(manifest, &service); err != nil {
		return found, err
	}
	template := &service.Spec.Template
	all, err := webhook.Of(template.Annotations)
	if err != nil {
		return found, err
	}
	i := slices.IndexFunc(all, func(w webhook.Webhook) bool { return w.Name == name })
	if i < 0 {
		return found, app.Errorf(app.CodeNotFound, "see gitd webhooks "+of, "%s has no webhook %q", of, name)
	}
	found = webhook.Found{Webhook: all[i], App: of, AppID: a.ID}
	version, err := deploy.ConfigurationOf(template, of)
	if err != nil {
		return found, err
	}
	values, err := s.config.Values(ctx, a.ID, of, version)
	if err != nil {
		return found, app.Wrap(err, app.CodeUnavailable, "set the secret again: gitd config set "+of, "the secret cannot be read")
	}
	for _, variable := range found.Webhook.Secrets {
		if v := values[variable]; len(v) > 0 {
			found.Secrets = append(found.Secrets, v)
		}
	}
	if len(found.Secrets) == 0 {
		return found, app.Errorf(app.CodeUnavailable, "set it: gitd config set "+of, "%s has no value", found.Webhook.Secrets)
	}
	return found, nil
}
