package event

import (
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
)

// What gitd alone gives to events. Apps go by it, so no other sender can.
const (
	// WebhookAttribute is the attribute of an event that came by a webhook: which one, as "APP/NAME".
	WebhookAttribute = ownPrefix + "webhook"
	// AppAttribute, ReleaseAttribute and OutcomeAttribute are those of what becomes of apps and releases: the app's name, the number of the release, and how it
	// ended: "success", "failure" or "cancel".
	AppAttribute     = ownPrefix + "app"
	ReleaseAttribute = ownPrefix + "release"
	OutcomeAttribute = ownPrefix + "outcome"

	ownPrefix = "gitd"
	appPrefix = "/apps/"

	// OwnType begins the types of gitd's own events.
	OwnType = "io.gitd."
)

// ownTypes begin the types that no other sender can use from a source that begins with appPrefix.
var ownTypes = []string{ScheduleType, "dev.cdevents.", OwnType}

// SourceOfApp is the source of gitd's own events of an app; those of parts of it begin with it.
func SourceOfApp(of string) string { return appPrefix + of }

// CheckSender fails for an event of gitd's own that comes from another sender: an app takes those as what they say.
func (e *Event) CheckSender(from Sender) error {
	if from.Kind == FromSource {
		return nil
	}
	of, ok := strings.CutPrefix(e.Source, appPrefix)
	if !ok {
		return nil
	}
	if _, part, _ := strings.Cut(of, "/"); strings.HasPrefix(part, "webhooks/") {
		return app.Errorf(app.CodeInvalidInput, "give it another source", "an event whose source begins with /apps/%s/webhooks/ is one of a webhook", app.Clip(of[:strings.IndexByte(of, '/')], 60))
	}
	for _, kind := range ownTypes {
		if !strings.HasPrefix(e.Type, kind) {
			continue
		}
		what := "tells what becomes of an app"
		if kind == ScheduleType {
			what = "is one of gitd's own schedules"
		}
		return app.Errorf(app.CodeInvalidInput, "give it another source or type", "an event of the type %s whose source begins with /apps/ %s", app.Clip(e.Type, 100), what)
	}
	return nil
}

// From returns the event as it is taken from a sender: without attributes that gitd alone gives.
func (e Event) From(from Sender) Event {
	if from.Kind == FromSource {
		return e
	}
	for name := range e.Extensions {
		if strings.HasPrefix(name, ownPrefix) {
			e = e.With(name, "")
		}
	}
	return e
}

// NotOwn is the filter that events pass which do not say that they are gitd's own: what CheckSender and From are where a broker asks neither. It names the attributes,
// because a filter knows no prefix of them.
func NotOwn() Filter {
	var own []string
	for _, name := range []string{WebhookAttribute, AppAttribute, ReleaseAttribute, OutcomeAttribute} {
		own = append(own, "EXISTS "+name)
	}
	own = append(own, "source LIKE '"+appPrefix+"%/webhooks/%'")
	var types []string
	for _, kind := range ownTypes {
		types = append(types, "type LIKE '"+kind+"%'")
	}
	own = append(own, "(source LIKE '"+appPrefix+"%' AND ("+strings.Join(types, " OR ")+"))")
	return Filter{CESQL: "NOT (" + strings.Join(own, " OR ") + ")"}
}

// notOwn is NotOwn as it is asked here.
var notOwn = sync.OnceValue(func() func(*Event) bool {
	passes, err := Compile([]Filter{NotOwn()})
	if err != nil {
		panic(err) // its text is above
	}
	return passes
})

// SaysOwn says whether an event says that it is gitd's own.
func (e *Event) SaysOwn() bool { return !notOwn()(e) }
