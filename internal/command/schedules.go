package command

import (
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) schedules() *cobra.Command {
	return shown(c, operation.Schedules, printSchedules)
}

func printSchedules(out io.Writer, list []operation.Schedule) error {
	w := table(out, "NAME", "SCHEDULE", "TIME ZONE", "NEXT (UTC)", "LAST (UTC)", "STATE", "JOB", "COMMAND")
	for _, s := range list {
		next, last, state, id := "never", "", "", ""
		if s.Next != nil {
			next = s.Next.UTC().Format(time.DateTime)
		}
		if s.Last != nil && s.Last.Due != nil {
			last, state, id = s.Last.Due.UTC().Format(time.DateTime), string(s.Last.State), s.Last.ID
			if s.Last.State == app.JobFailed && s.Last.Status != nil {
				state = fmt.Sprintf("failed (%d)", *s.Last.Status)
			}
		}
		what := quoted(s.Command)
		if s.Path != "" {
			what = "an event to " + s.Path
		}
		row(w, s.Name, s.Schedule, s.Timezone, next, last, state, id, app.Line(what, maxShown))
	}
	return w.Flush()
}
