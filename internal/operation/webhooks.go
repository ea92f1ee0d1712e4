package operation

import (
	"context"
	"encoding/json"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/webhook"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Webhook is a webhook of what is live.
type Webhook struct {
	Name    string       `json:"name"`
	Kind    webhook.Kind `json:"kind"`
	URL     string       `json:"url"`     // where its requests go
	Secrets []string     `json:"secrets"` // variables of the app's configuration, one of which signs
	Broker  string       `json:"broker"`
	Path    string       `json:"path,omitempty"` // of the app, which gets the events there
}

// Webhooks lists the webhooks of an app.
var Webhooks = Operation[OfApp, []Webhook]{
	Declaration{Name: "webhooks", Args: "APP", Does: "List the webhooks that an app takes, with their URLs", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) ([]Webhook, error) {
		list := []Webhook{}
		ledger := c.Store.Ledger(c.app)
		live, err := ledger.Live(ctx)
		if app.CodeOf(err) == app.CodeNotFound {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		manifest, err := ledger.Service(ctx, live.Version)
		if err != nil {
			return list, err
		}
		var s servingv1.Service
		if err := json.Unmarshal(manifest, &s); err != nil {
			return list, err
		}
		all, err := webhook.Of(s.Spec.Template.Annotations)
		for _, w := range all {
			list = append(list, Webhook{w.Name, w.Kind, c.WebhookURL(c.app, w.Name), w.Secrets, w.Broker, w.Path})
		}
		return list, err
	},
}
