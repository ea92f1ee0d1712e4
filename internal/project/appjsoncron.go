package project

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/schedule"
)

// movedCron makes schedules of Dokku's cron, where project.toml has none. As there, one that was missed is not made up for, and starts may overlap
// unless it says otherwise.
func (d *Descriptor) movedCron(raw json.RawMessage) error {
	var all []struct {
		Command     string `json:"command"`
		Schedule    string `json:"schedule"`
		Overlap     string `json:"concurrency_policy"`
		Maintenance bool   `json:"maintenance"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	if len(d.Schedules) > 0 {
		return nil
	}
	for i, c := range all[:min(len(all), schedule.Most)] {
		command := strings.TrimSpace(c.Command)
		var words any = []any{"bash", "-c", command}
		if !strings.ContainsAny(command, " \t\n;|&<>$`'\"") { // a process type, or a program
			words = []any{command}
		}
		overlap, missed := string(schedule.Allow), string(schedule.Skip)
		if c.Overlap != "" {
			overlap = c.Overlap
		}
		s, err := scheduleTable{Name: fmt.Sprintf("cron-%d", i+1), Schedule: c.Schedule, Command: words, Overlap: &overlap, Missed: &missed}.schedule()
		switch {
		case c.Maintenance:
			d.notUsed("cron-%d: it is in maintenance, and does not run", i+1)
		case len(c.Command) > maxScript || command == "":
			d.notUsed("cron-%d: its command is empty, or longer than %s", i+1, app.Size(maxScript))
		case err != nil:
			d.notUsed("cron-%d: %v", i+1, err)
		default:
			d.Schedules = append(d.Schedules, s)
		}
	}
	if len(d.Schedules) > 0 {
		d.notUsed("cron: its times are in UTC")
	}
	return nil
}
