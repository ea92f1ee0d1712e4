package webhook

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// toEvents are the events of a request whose proof fits: one, or of S3 each record; none where it only asks whether the webhook works. of is the app's name. Its error is
// a refusal.
func (w *Webhook) toEvents(of string, h http.Header, body []byte, now time.Time) (all []*event.Event, err error) {
	var e *event.Event
	switch w.Kind {
	case GitHub:
		e, err = gitHubEvent(h, body, now)
	case GitLab:
		e, err = gitLabEvent(h, body, now)
	case Stripe:
		e, err = stripeEvent(body, now)
	case S3:
		all, err = s3Events(body, now)
	default:
		e = standardEvent(h, body, now)
		e.Source = event.SourceOfApp(of) + "/webhooks/" + w.Name
	}
	if e != nil {
		all = []*event.Event{e}
	}
	for _, e := range all {
		e.Extensions = map[string]string{event.WebhookAttribute: of + "/" + w.Name}
	}
	return all, err
}

// gitLabEvent is a request of GitLab as the adapter of CloudEvents for it has it.
func gitLabEvent(h http.Header, body []byte, now time.Time) (*event.Event, error) {
	d, err := readDocument(body)
	if err != nil {
		return nil, err
	}
	name := kind(d.at("object_kind event_name event_type"))
	if name == "" {
		return nil, refuse("the body does not say what it is of: it has no object_kind")
	}
	const of, project = "repository.homepage project.web_url", "project.web_url repository.homepage"
	m, ok := map[string]mapping{
		"push":          {"", of, "checkout_sha", ""},
		"tag_push":      {"", of, "ref", ""},
		"issue":         {"object_attributes.state", of, "object_attributes.iid", ""},
		"merge_request": {"object_attributes.action", of, "object_attributes.iid", "object_attributes.created_at"},
		"wiki_page":     {"object_attributes.action", project, "object_attributes.slug", ""},
		"pipeline":      {"object_attributes.status", project, "object_attributes.id", ""},
		"build":         {"build_status", of, "build_id", ""},
		"note":          {"", "commit.url", "object_attributes.id", "object_attributes.created_at"},
	}[name]
	if !ok {
		m = mapping{"object_attributes.action action", project, "object_attributes.iid object_attributes.id", ""}
	}
	source := d.at(m.source)
	switch name {
	case "build":
		name = "job"
	case "note":
		switch d.at("object_attributes.noteable_type") {
		case "Commit":
			name = "note.commit"
		case "MergeRequest":
			name = "note.merge_request"
		case "Issue":
			name = "note.issue"
		case "Snippet":
			name = "note.snippet"
		}
		if name != "note.commit" {
			source, _, _ = strings.Cut(d.at("object_attributes.url"), "#")
		}
	}
	e := d.event("com.gitlab."+name, m, now)
	e.ID = cmp.Or(attribute(h.Get("Idempotency-Key")), attribute(h.Get("Webhook-Id")), attribute(h.Get("X-Gitlab-Event-Uuid")), identity(body))
	e.Source, e.Data = cmp.Or(source, d.at(project), attribute(h.Get("X-Gitlab-Instance")), "https://gitlab.com"), body
	return e, nil
}

// stripeEvent is a request of Stripe: it is an event, with an id, a type and a time of its own.
func stripeEvent(body []byte, now time.Time) (*event.Event, error) {
	d, err := readDocument(body)
	if err != nil {
		return nil, err
	}
	id, name := d.at("id"), kind(d.at("type"))
	if id == "" || name == "" {
		return nil, refuse("the body is not an event of Stripe: it has no id or no type")
	}
	source := "https://api.stripe.com"
	if account := d.at("account context"); account != "" {
		source += "/v1/accounts/" + account
	}
	return &event.Event{ID: id, Source: source, Type: "com.stripe." + name, Subject: d.at("data.object.id related_object.id"), Time: d.time("created", now), ContentType: "application/json", Data: body}, nil
}

// standardEvent is a request by Standard Webhooks. Where it is JSON with a type and a timestamp, as it should be, they are the event's.
func standardEvent(h http.Header, body []byte, now time.Time) *event.Event {
	e := &event.Event{ID: cmp.Or(attribute(h.Get("Webhook-Id")), attribute(h.Get("Svix-Id")), identity(body)), Type: "io.gitd.webhook",
		ContentType: cmp.Or(attribute(h.Get("Content-Type")), "application/octet-stream"), Data: body}
	d := document{}
	if json.Valid(body) {
		e.ContentType = "application/json"
		_ = json.Unmarshal(body, &d) // one that is no object has no attributes
	}
	if t := kind(d.at("type")); t != "" {
		e.Type = t
	}
	e.Time = d.time("timestamp", now)
	return e
}
