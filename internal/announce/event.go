package announce

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/store"
)

// The version of CDEvents, and the types of its events that are told.
const (
	specVersion = "0.4.1"

	runStarted  = "dev.cdevents.pipelinerun.started.0.2.0"
	runFinished = "dev.cdevents.pipelinerun.finished.0.2.0"
	deployed    = "dev.cdevents.service.deployed.0.2.0"
	upgraded    = "dev.cdevents.service.upgraded.0.2.0"
	rolledBack  = "dev.cdevents.service.rolledback.0.2.0"
	removed     = "dev.cdevents.service.removed.0.2.0"

	// CDEvents has no word for them.
	appCreated   = event.OwnType + "app.created"
	appDestroyed = event.OwnType + "app.destroyed"
)

// cdEvent is an event of CDEvents: what is known of each of them, and its subject.
type cdEvent struct {
	Context struct {
		Version   string `json:"version"`
		ID        string `json:"id"`
		Source    string `json:"source"`
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
	} `json:"context"`
	Subject        subject `json:"subject"`
	CustomData     any     `json:"customData,omitempty"`
	CustomDataType string  `json:"customDataContentType,omitempty"`
}

type subject struct {
	ID      string         `json:"id"`
	Source  string         `json:"source"`
	Type    string         `json:"type"`
	Content map[string]any `json:"content"`
}

// facts are what gitd knows of a release, beside what CDEvents has a word for.
type facts struct {
	App      string `json:"app"`
	Release  int    `json:"release"`
	Kind     string `json:"kind"`               // how it came about: "push", "rollback", "config", …
	Commit   string `json:"commit,omitempty"`   // 40 hex digits
	Ref      string `json:"ref,omitempty"`      // "refs/heads/main"; of a ready image, its reference
	By       string `json:"by"`                 // name of the key
	Of       int    `json:"of,omitempty"`       // the release that it begins with
	Revision string `json:"revision,omitempty"` // that serves it
}

// eventsOf are what is told of one entry, in order. Their ids are the same each time.
func eventsOf(u *store.Untold) (all []event.Event, err error) {
	add := func(kind, mark string, s subject, more map[string]string) {
		if err != nil {
			return
		}
		var e event.Event
		e, err = toEvent(u, kind, mark, s)
		for name, value := range more {
			e = e.With(name, value)
		}
		all = append(all, e)
	}
	run := subject{ID: u.App.Name + "/" + app.VersionName(u.Version), Type: "pipelineRun", Content: map[string]any{"pipelineName": u.App.Name}}
	switch s := app.State(u.What); {
	case u.What == store.AppCreated:
		return ofApp(u, appCreated)
	case u.What == store.AppDestroyed:
		if u.Version > 0 {
			add(removed, "-service", service(u), nil)
		}
		if err != nil {
			return nil, err
		}
		last, err := ofApp(u, appDestroyed)
		return append(all, last...), err
	case !s.Final():
		add(runStarted, "", run, nil)
	default:
		outcome := outcomeOf(s)
		run.Content["outcome"] = outcome
		if outcome != success {
			run.Content["errors"] = u.Reason
		}
		add(runFinished, "", run, map[string]string{event.OutcomeAttribute: outcome})
		if s == app.StateLive {
			add(serviceEvent(u), "-service", service(u), nil)
		}
	}
	return all, err
}

const success = "success"

// outcomeOf is how CDEvents calls the end of a release.
func outcomeOf(s app.State) string {
	switch s {
	case app.StateLive, app.StateReady:
		return success
	case app.StateFailed:
		return "failure"
	}
	return "cancel"
}

// serviceEvent is what a release that has gone live is to its app.
func serviceEvent(u *store.Untold) string {
	switch {
	case u.Kind == app.KindRollback:
		return rolledBack
	case u.First:
		return deployed
	}
	return upgraded
}

// service is the app as the subject of an event.
func service(u *store.Untold) subject {
	environment := map[string]string{"id": "production"}
	if u.App.Parent != "" {
		environment["id"] = "preview"
	}
	s := subject{ID: u.App.Name, Type: "service", Content: map[string]any{"environment": environment}}
	if u.Digest != "" {
		s.Content["artifactId"] = "pkg:oci/" + url.PathEscape(u.App.Name) + "@" + url.QueryEscape(u.Digest)
	}
	return s
}

// toEvent is a CDEvent as a CloudEvent. mark tells it from others of the same entry.
func toEvent(u *store.Untold, kind, mark string, s subject) (event.Event, error) {
	e := base(u, kind)
	e.ID, e.Subject, e.ContentType = u.ID+mark, s.ID, "application/cdevents+json"
	s.Source = e.Source
	c := cdEvent{Subject: s}
	c.Context.Version, c.Context.ID, c.Context.Source, c.Context.Type, c.Context.Timestamp = specVersion, e.ID, e.Source, kind, e.Time
	if u.Kind != "" {
		c.CustomData = facts{App: u.App.Name, Release: u.Version, Kind: string(u.Kind), Commit: u.Commit, Ref: u.Ref, By: u.Key, Of: u.Of, Revision: u.Revision}
		c.CustomDataType = "application/json"
	}
	var err error
	e.Data, err = json.Marshal(c)
	return e, err
}

// ofApp is an event of gitd's own vocabulary.
func ofApp(u *store.Untold, kind string) ([]event.Event, error) {
	e := base(u, kind)
	e.ID, e.Subject, e.ContentType = u.ID, u.App.Name, "application/json"
	var err error
	e.Data, err = json.Marshal(map[string]string{"app": u.App.Name, "owner": u.App.Owner})
	return []event.Event{e}, err
}

// base is what all events of an entry have.
func base(u *store.Untold, kind string) event.Event {
	e := event.Event{Source: event.SourceOfApp(u.App.Name), Type: kind, Time: u.At.UTC().Format(time.RFC3339Nano), Extensions: map[string]string{event.AppAttribute: u.App.Name}}
	if u.Version > 0 {
		e.Extensions[event.ReleaseAttribute] = strconv.Itoa(u.Version)
	}
	return e
}
