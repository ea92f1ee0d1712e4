package webhook

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// mapping says where the attributes of an event are in what a service sends: paths of a document, of several the first at which there is something.
type mapping struct {
	kind    string // what follows the name in the type
	source  string
	subject string
	time    string
}

// gitHubMapping is how the adapter of CloudEvents for GitHub has an event. Most of them are of an action on something in a repository, which has the event's name.
func gitHubMapping(name string) mapping {
	const of, owner = "repository.url", "repository.owner.url"
	m, ok := map[string]mapping{
		"check_run":                      {"action", of, "check_run.id", "check_run.completed_at check_run.started_at"},
		"commit_comment":                 {"action", "comment.url", "comment.id", "comment.updated_at"},
		"content_reference":              {"action", of, "content_reference.id", ""},
		"create":                         {"ref_type", of, "ref", ""},
		"delete":                         {"ref_type", of, "ref", ""},
		"deploy_key":                     {"action", of, "key.id", "key.deleted_at key.created_at"},
		"deployment":                     {"", of, "deployment.id", "deployment.updated_at"},
		"deployment_status":              {"deployment_status.state", "deployment.url", "deployment_status.url", "deployment_status.updated_at"},
		"fork":                           {"", of, "forkee.url", "forkee.created_at"},
		"github_app_authorization":       {"", "sender.url", "", ""},
		"gollum":                         {"", of, "", ""},
		"installation":                   {"action", "installation.account.url", "installation.id", "installation.updated_at"},
		"installation_repositories":      {"action", "installation.account.url", "installation.id", "installation.updated_at"},
		"issue_comment":                  {"action", "issue.url", "comment.id", "comment.updated_at"},
		"issues":                         {"action", of, "issue.number", "issue.updated_at"},
		"label":                          {"action", of, "label.name", ""},
		"marketplace_purchase":           {"action", "sender.url", "marketplace_purchase.account.login", "effective_date"},
		"member":                         {"action", of, "member.login", ""},
		"membership":                     {"scope action", "team.url", "member.login", ""},
		"meta":                           {"action", of, "hook_id", "hook.updated_at"},
		"milestone":                      {"action", of, "milestone.number", "milestone.updated_at"},
		"org_block":                      {"action", "organization.url", "blocked_user.login", ""},
		"organization":                   {"action", "organization.url", "membership.user.login", ""},
		"page_build":                     {"", of, "build.url", "pusher.updated_at"},
		"public":                         {"", owner, "repository.name", "repository.updated_at"},
		"pull_request":                   {"action", of, "number", "pull_request.updated_at"},
		"pull_request_review":            {"action", "pull_request.url", "review.id", "review.submitted_at"},
		"pull_request_review_comment":    {"action", "pull_request.url", "comment.id", "pull_request.updated_at"},
		"push":                           {"", of, "ref", ""},
		"registry_package":               {"action", of, "registry_package.html_url", "registry_package.updated_at"},
		"release":                        {"action", of, "release.id", "release.published_at release.created_at"},
		"repository":                     {"action", owner, "repository.name", "repository.updated_at"},
		"repository_import":              {"", owner, "repository.name", "repository.updated_at"},
		"repository_vulnerability_alert": {"action", of, "alert.id", ""},
		"security_advisory":              {"action", "", "security_advisory.ghsa_id", "security_advisory.updated_at"},
		"star":                           {"action", of, "", "starred_at"},
		"status":                         {"state", of, "sha", "updated_at"},
		"team":                           {"action", of, "team.id", "updated_at"},
		"team_add":                       {"action", of, "team.id", ""},
		"watch":                          {"action", of, "", ""},
	}[name]
	if !ok {
		m = mapping{"action", of, name + ".id", name + ".updated_at"}
	}
	return m
}

// gitHubEvent is a request of GitHub as an event; none where it only asks whether the webhook works.
func gitHubEvent(h http.Header, body []byte, now time.Time) (*event.Event, error) {
	name := kind(h.Get("X-GitHub-Event"))
	if name == "" {
		return nil, refuse("the header X-GitHub-Event is missing, or is not the name of an event")
	}
	if strings.HasPrefix(h.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(body))
		if err != nil || !form.Has("payload") {
			return nil, refuse("the body is a form without a payload")
		}
		body = []byte(form.Get("payload"))
	}
	d, err := readDocument(body)
	if err != nil || name == "ping" {
		return nil, err
	}
	m := gitHubMapping(name)
	source := cmp.Or(d.at(m.source), d.at("organization.url enterprise.html_url sender.url"), "https://github.com")
	switch name {
	case "issues":
		name = "issue"
	case "commit_comment":
		source += "/" + d.at("comment.commit_id")
	case "marketplace_purchase":
		source = source[:max(strings.LastIndexByte(source, '/'), 0)]
	case "security_advisory":
		source = "github.com"
	}
	e := d.event("com.github."+name, m, now)
	e.ID, e.Source, e.Data = cmp.Or(attribute(h.Get("X-GitHub-Delivery")), identity(body)), cmp.Or(source, "https://github.com"), body
	return e, nil
}

// event is the event of a type with the attributes that a mapping finds.
func (d document) event(base string, m mapping, now time.Time) *event.Event {
	e := &event.Event{Type: base, Subject: d.at(m.subject), Time: d.time(m.time, now), ContentType: "application/json"}
	for path := range strings.FieldsSeq(m.kind) {
		if k := kind(d.at(path)); k != "" {
			e.Type += "." + k
		}
	}
	return e
}
