package event

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// ScheduleType is the type of the events that schedules send: that of Knative's PingSource.
const ScheduleType = "dev.knative.sources.ping"

// WebhookAttribute is the attribute of an event that came by a webhook: which one, as "APP/NAME".
const WebhookAttribute = ownPrefix + "webhook"

// ownPrefix begins the names of attributes that gitd alone gives to events: filters go by them.
const ownPrefix = "gitd"

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

// scheduleSource is the source of the events of an app's schedule.
func scheduleSource(of, name string) string { return "/apps/" + of + "/schedules/" + name }

// CheckSender fails for an event of a schedule that comes from another sender than gitd: an app takes those as its own.
func (e *Event) CheckSender(from Sender) error {
	if from.Kind == FromSource || e.Type != ScheduleType || !strings.HasPrefix(e.Source, "/apps/") {
		return nil
	}
	return app.Errorf(app.CodeInvalidInput, "give it another source or type", "an event of the type %s whose source begins with /apps/ is one of gitd's own schedules", ScheduleType)
}

// OfSchedule returns the event of a due time of an app's schedule. Its id is the due time, so that one that is sent twice is delivered as one.
func OfSchedule(of, name, data string, due time.Time) Event {
	at := due.UTC().Format(time.RFC3339)
	e := Event{ID: at, Source: scheduleSource(of, name), Type: ScheduleType, Time: at}
	if data != "" {
		e.Data, e.ContentType = []byte(data), "text/plain"
		if json.Valid(e.Data) {
			e.ContentType = "application/json"
		}
	}
	return e
}

// TriggerOfSchedule returns the trigger by which an app gets the events of its schedule, at a path.
func TriggerOfSchedule(of, name, path string) Trigger {
	return Trigger{Name: name, Broker: DefaultBroker, Path: path, Delivery: Defaults(),
		Filters: []Filter{{Exact: map[string]string{"type": ScheduleType, "source": scheduleSource(of, name)}}}}
}
