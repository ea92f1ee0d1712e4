package operation

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/job"
)

// Schedule is one schedule of what is live, with its next due time and its last job.
type Schedule struct {
	Name     string     `json:"name"`
	Schedule string     `json:"schedule"`
	Timezone string     `json:"timezone"`
	Command  []string   `json:"command,omitempty"` // for those alone who may run it
	Path     string     `json:"path,omitempty"`    // of the app, which gets an event, instead of a command
	Overlap  string     `json:"overlap"`
	Missed   string     `json:"missed"`
	Retries  int        `json:"retries,omitempty"`
	Next     *time.Time `json:"next,omitempty"`
	Last     *Job       `json:"last,omitempty"`
}

// Schedules lists the schedules of an app.
var Schedules = Operation[OfApp, []Schedule]{
	Declaration{Name: "schedules", Args: "APP", Does: "List what the clock starts for an app, with the next and the last time", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) ([]Schedule, error) {
		list := []Schedule{}
		secrets := c.mayRun(ctx)
		all, err := c.Jobs.Scheduled(ctx, c.app)
		for _, s := range all {
			list = append(list, scheduleOf(s, secrets))
		}
		return list, err
	},
}

func scheduleOf(s job.Scheduled, secrets bool) Schedule {
	o := Schedule{Name: s.Name, Schedule: s.Cron, Timezone: s.Zone, Overlap: string(s.Overlap), Missed: string(s.Missed), Retries: s.Retries, Path: s.Path}
	if secrets {
		o.Command = s.Command
	}
	if !s.Next.IsZero() {
		o.Next = &s.Next
	}
	if s.Last != nil {
		last := jobOf(*s.Last, secrets)
		o.Last = &last
	}
	return o
}
