package event

import (
	"encoding/json"
	"time"
)

// ScheduleType is the type of the events that schedules send: that of Knative's PingSource.
const ScheduleType = "dev.knative.sources.ping"

// scheduleSource is the source of the events of an app's schedule.
func scheduleSource(of, name string) string { return SourceOfApp(of) + "/schedules/" + name }

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
