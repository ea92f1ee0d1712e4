// Package schedule is what a release says of the jobs that are started by the clock. They are in the release's Service, so that they go live and are rolled back with it.
package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // machines without /usr/share/zoneinfo

	"github.com/gitd-io/gitd/internal/annotation"
	"github.com/robfig/cron/v3"
)

// schedulesAnnotation of a Service's template has the schedules, as JSON.
const schedulesAnnotation = "gitd.io/schedules"

// Bounds of schedules.
const (
	Most       = 50 // of one app
	MaxRetries = 10
)

// Overlap is what happens when a schedule is due while its job before still runs.
type Overlap string

// The ways with an overlap.
const (
	Forbid  Overlap = "forbid" // nothing is started, and that is noted
	Replace Overlap = "replace"
	Allow   Overlap = "allow"
)

// Missed is what happens to due times at which the server did not run.
type Missed string

// The ways with missed due times.
const (
	RunOnce Missed = "run-once" // the newest is started, the others are noted
	Skip    Missed = "skip"     // all are noted
)

// Schedule is one job, or one event, and when it is due.
type Schedule struct {
	Name    string        `json:"name"`
	Cron    string        `json:"schedule"`       // five fields: minute, hour, day of month, month, day of week; or a name such as @daily
	Zone    string        `json:"timezone"`       // of the IANA database
	Command []string      `json:"command"`        // a process type or a program, and its arguments; none for one that sends an event
	Path    string        `json:"path,omitempty"` // of the app, which gets the event; "" for a job
	Data    string        `json:"data,omitempty"` // of the event
	Overlap Overlap       `json:"overlap"`
	Missed  Missed        `json:"missed"`
	Retries int           `json:"retries,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // 0 for the default of jobs
}

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// names are those of schedules that cron knows besides the five fields.
var names = map[string]string{"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *",
	"@midnight": "0 0 * * *", "@hourly": "0 * * * *"}

// Times are the due times of a schedule.
type Times struct {
	spec cron.Schedule
	zone *time.Location
}

// Times reads the schedule and its zone. The error says what is wrong, in words.
func (s *Schedule) Times() (t Times, err error) {
	if t.zone, err = time.LoadLocation(s.Zone); err != nil || s.Zone == "" || s.Zone == "Local" {
		return t, fmt.Errorf("%q is not a time zone: give one such as \"Europe/Berlin\" or \"UTC\"", s.Zone)
	}
	fields := cmp.Or(names[s.Cron], s.Cron)
	switch n := len(strings.Fields(fields)); {
	case strings.HasPrefix(fields, "@"):
		return t, fmt.Errorf("%q is not a schedule: give @hourly, @daily, @weekly, @monthly or @yearly, or five fields, as in \"30 4 * * 1-5\"", s.Cron)
	case n != 5 || strings.ContainsAny(fields, "=@"):
		plural := "s"
		if n == 1 {
			plural = ""
		}
		return t, fmt.Errorf("%q has %d field%s: a schedule has five, minute, hour, day of month, month and day of week, as in \"30 4 * * 1-5\"", s.Cron, n, plural)
	}
	if t.spec, err = parse(fields); err != nil {
		return t, fmt.Errorf("%q is not a schedule: %w", s.Cron, err)
	}
	if t.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return t, fmt.Errorf("%q is never due: there is no such day", s.Cron)
	}
	return t, nil
}

// parse keeps a parser that panics from taking the server along.
func parse(text string) (s cron.Schedule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("it cannot be read")
		}
	}()
	return parser.Parse(text)
}

// Next returns the first due time after t; the zero time for none.
func (t Times) Next(after time.Time) time.Time {
	next := t.spec.Next(after.In(t.zone))
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

// Set keeps schedules in the annotations of a template.
func Set(annotations map[string]string, all []Schedule) error {
	return annotation.Set(annotations, schedulesAnnotation, all)
}

// Of returns the schedules in the annotations of a template.
func Of(annotations map[string]string) ([]Schedule, error) {
	return annotation.Of[Schedule](annotations, schedulesAnnotation)
}
