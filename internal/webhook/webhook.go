// Package webhook is requests by which services such as GitHub and Stripe tell of what happened there: which of them an app takes, whether one comes from who has the
// secret, and the CloudEvent that it becomes.
package webhook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/annotation"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Kind is how the requests of a webhook are signed, and what they say.
type Kind string

// The kinds.
const (
	GitHub   Kind = "github"   // also Gitea and Forgejo, which sign in the same way
	GitLab   Kind = "gitlab"   // with a secret token, or a signing token
	Stripe   Kind = "stripe"   // webhook endpoints
	S3       Kind = "s3"       // notifications of MinIO and others that have those of Amazon S3, with a bearer token
	Standard Kind = "standard" // the specification Standard Webhooks
)

// Kinds are all kinds.
var Kinds = []Kind{GitHub, GitLab, Stripe, S3, Standard}

// Bounds of webhooks.
const (
	Most        = 20 // of one app
	mostSecrets = 4  // of one webhook
)

// webhooksAnnotation of a Service's template has the webhooks, as JSON.
const webhooksAnnotation = "gitd.io/webhooks"

// Webhook is one that an app takes. It belongs to a release: it goes live with it, and is rolled back with it.
type Webhook struct {
	Name    string   `json:"name"`
	Kind    Kind     `json:"kind"`
	Secrets []string `json:"secrets"` // variables of the app's configuration, one of which has the secret that signs
	Broker  string   `json:"broker"`
	Path    string   `json:"path,omitempty"` // of the app, which gets the event there; "": triggers decide who gets it
}

// Set keeps webhooks in the annotations of a template.
func Set(annotations map[string]string, all []Webhook) error {
	return annotation.Set(annotations, webhooksAnnotation, all)
}

// Of returns the webhooks in the annotations of a template.
func Of(annotations map[string]string) ([]Webhook, error) {
	return annotation.Of[Webhook](annotations, webhooksAnnotation)
}

// Check says what is wrong with a webhook, in words.
func (w *Webhook) Check() error {
	if err := event.CheckName(w.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if !slices.Contains(Kinds, w.Kind) {
		return fmt.Errorf("kind is %s, not %q", kinds(), app.Clip(string(w.Kind), 30))
	}
	switch n := len(w.Secrets); {
	case n == 0:
		return fmt.Errorf("secret is missing: the variable of the app's configuration that has it")
	case n > mostSecrets:
		return fmt.Errorf("secret: there are %d variables, and at most %d can be", n, mostSecrets)
	}
	t := w.Trigger("app")
	return t.Check()
}

// kinds are all kinds, as a sentence lists them.
func kinds() string {
	var all []string
	for _, k := range Kinds {
		all = append(all, fmt.Sprintf("%q", k))
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// Trigger returns the trigger by which an app gets the events of its webhook that has a path.
func (w *Webhook) Trigger(of string) event.Trigger {
	path := w.Path
	if path == "" {
		path = "/"
	}
	return event.Trigger{Name: w.Name, Broker: w.Broker, Path: path, Delivery: event.Defaults(),
		Filters: []event.Filter{{Exact: map[string]string{event.WebhookAttribute: of + "/" + w.Name}}}}
}

// Path is where the requests of an app's webhook go, on the host of the brokers.
func Path(of, name string) string { return prefix + of + "/" + name }

const prefix = "/hooks/"
