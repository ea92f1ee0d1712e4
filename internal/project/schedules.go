package project

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gitd-io/gitd/internal/event"
	patterns "github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/schedule"
)

// scheduleTable is one of [[io.gitd.schedules]].
type scheduleTable struct {
	Name     string  `toml:"name"`
	Schedule string  `toml:"schedule"`
	Timezone *string `toml:"timezone"`
	Command  any     `toml:"command"` // a list of words, or a process type
	Path     string  `toml:"path"`    // instead of a command: the app gets an event there
	Data     string  `toml:"data"`
	Overlap  *string `toml:"overlap"`
	Missed   *string `toml:"missed"`
	Retries  *int64  `toml:"retries"`
	Timeout  *string `toml:"timeout"`
}

var scheduleName = patterns.New(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// maxScheduleTimeout is how long a scheduled job may run at most.
const maxScheduleTimeout = 7 * 24 * time.Hour

// schedules sets what the descriptor says of schedules. lines are where each of them begins.
func (d *Descriptor) schedules(tables []scheduleTable, lines []int) error {
	if len(tables) > schedule.Most {
		return bad("io.gitd.schedules: there are %d, and at most %d can be", len(tables), schedule.Most)
	}
	for i, t := range tables {
		s, err := t.schedule()
		if err == nil && slices.ContainsFunc(d.Schedules, func(o schedule.Schedule) bool { return o.Name == s.Name }) {
			err = fmt.Errorf("there is another of that name")
		}
		if err != nil {
			return bad("%sio.gitd.schedules %q: %v", at(lines, i), t.Name, err)
		}
		d.Schedules = append(d.Schedules, s)
	}
	return nil
}

func (t scheduleTable) schedule() (s schedule.Schedule, err error) {
	or := func(said *string, without string) string {
		if said == nil {
			return without
		}
		return *said
	}
	s = schedule.Schedule{Name: t.Name, Cron: t.Schedule, Zone: or(t.Timezone, "UTC"), Overlap: schedule.Overlap(or(t.Overlap, string(schedule.Forbid))),
		Missed: schedule.Missed(or(t.Missed, string(schedule.RunOnce)))}
	switch c := t.Command.(type) {
	case string:
		s.Command = []string{c}
		if strings.ContainsAny(c, " \t\n") {
			return s, fmt.Errorf(`command: a text is a process type; write a program and its arguments as a list: ["rake", "clean"]`)
		}
	case []any:
		for _, w := range c {
			word, ok := w.(string)
			if !ok || strings.ContainsRune(word, 0) {
				return s, fmt.Errorf("command: %v is not a text", w)
			}
			s.Command = append(s.Command, word)
		}
	}
	switch {
	case !scheduleName.MatchString(s.Name):
		return s, fmt.Errorf("the name must be of a-z, 0-9 and -, at most 40 characters")
	case t.Path != "":
		if err := t.event(&s); err != nil {
			return s, err
		}
	case t.Data != "":
		return s, fmt.Errorf("data is that of an event: give the path of the app that gets it")
	case len(s.Command) == 0 || s.Command[0] == "":
		return s, fmt.Errorf(`command is missing: a process type, or a list such as ["rake", "clean"]; or path, for an event`)
	}
	switch {
	case s.Overlap != schedule.Forbid && s.Overlap != schedule.Replace && s.Overlap != schedule.Allow:
		return s, fmt.Errorf(`overlap is "forbid", "replace" or "allow", not %q`, s.Overlap)
	case s.Missed != schedule.RunOnce && s.Missed != schedule.Skip:
		return s, fmt.Errorf(`missed is "run-once" or "skip", not %q`, s.Missed)
	}
	if t.Retries != nil {
		if *t.Retries < 0 || *t.Retries > schedule.MaxRetries {
			return s, fmt.Errorf("retries is from 0 to %d", schedule.MaxRetries)
		}
		s.Retries = int(*t.Retries)
	}
	if t.Timeout != nil {
		if s.Timeout, err = time.ParseDuration(*t.Timeout); err != nil || s.Timeout < time.Second || s.Timeout > maxScheduleTimeout {
			return s, fmt.Errorf(`timeout is a time such as "30m", from 1s to 168h, not %q`, *t.Timeout)
		}
	}
	_, err = s.Times()
	return s, err
}

// maxScheduleData is how long the data of a schedule's event may be: it is kept with each release.
const maxScheduleData = 8 << 10

// event sets what a schedule says that sends an event.
func (t scheduleTable) event(s *schedule.Schedule) error {
	s.Path, s.Data, s.Retries = t.Path, t.Data, schedule.MaxRetries
	trigger := event.TriggerOfSchedule("app", s.Name, s.Path)
	switch {
	case t.Command != nil || t.Overlap != nil || t.Timeout != nil:
		return fmt.Errorf("with path, which sends an event, there is no command, overlap or timeout")
	case len(t.Data) > maxScheduleData || !utf8.ValidString(t.Data):
		return fmt.Errorf("data is a text of at most %d KiB", maxScheduleData>>10)
	}
	return trigger.Check()
}

// at says at which line the table i is, where that is known.
func at(lines []int, i int) string {
	if i >= len(lines) {
		return ""
	}
	return fmt.Sprintf("line %d: ", lines[i])
}

// tableLines are the lines at which [[io.gitd.NAME]] begin.
func tableLines(text, name string) (lines []int) {
	n := 0
	for l := range strings.Lines(text) {
		n++
		compact := strings.NewReplacer(" ", "", "\t", "").Replace(strings.TrimSpace(l))
		if strings.HasPrefix(compact, "[[io.gitd."+name+"]]") {
			lines = append(lines, n)
		}
	}
	return lines
}
