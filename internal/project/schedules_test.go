package project

import (
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/schedule"
)

func TestSchedules(t *testing.T) {
	d, err := Parse(`
[[io.gitd.schedules]]
name = "clean"
schedule = "30 4 * * *"
timezone = "Europe/Berlin"
command = ["rake", "clean", "all of it"]
overlap = "replace"
missed = "skip"
retries = 3
timeout = "30m"

[[io.gitd.schedules]]
name = "report"
schedule = "0 9 * * 1"
command = "report"

[[io.gitd.schedules]]
name = "tick"
schedule = "* * * * *"
path = "/tick"
data = "{}"
`)
	if err != nil || len(d.Schedules) != 3 {
		t.Fatal(err, d.Schedules)
	}
	if s := d.Schedules[0]; s.Name != "clean" || s.Zone != "Europe/Berlin" || len(s.Command) != 3 || s.Overlap != schedule.Replace || s.Missed != schedule.Skip || s.Retries != 3 || s.Timeout != 30*time.Minute {
		t.Errorf("%+v", s)
	}
	if s := d.Schedules[2]; s.Path != "/tick" || s.Data != "{}" || len(s.Command) != 0 || s.Retries != schedule.MaxRetries {
		t.Errorf("%+v", s)
	}
	if s := d.Schedules[1]; s.Zone != "UTC" || len(s.Command) != 1 || s.Overlap != schedule.Forbid || s.Missed != schedule.RunOnce || s.Retries != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSchedules_Errors(t *testing.T) {
	const good = "name = \"a\"\nschedule = \"* * * * *\"\ncommand = \"a\"\n"
	for text, want := range map[string]string{
		"schedule = \"* * * * *\"\ncommand = \"a\"":                               "the name must be",
		"name = \"A b\"\nschedule = \"* * * * *\"":                                "the name must be",
		"name = \"a\"\nschedule = \"* * * * *\"":                                  "command is missing",
		"name = \"a\"\ncommand = []":                                              "command is missing",
		"name = \"a\"\ncommand = [1]":                                             "is not a text",
		"name = \"a\"\ncommand = \"rake clean\"":                                  "as a list",
		"name = \"a\"\nschedule = \"nope\"\ncommand = \"a\"":                      "has 1 field:",
		"name = \"a\"\nschedule = \"0 0 30 2 *\"\ncommand = \"a\"":                "never due",
		good + "timezone = \"Mars\"":                                              "not a time zone",
		good + "overlap = \"maybe\"":                                              "overlap is",
		good + "missed = \"maybe\"":                                               "missed is",
		good + "retries = 11":                                                     "from 0 to 10",
		good + "retries = -1":                                                     "from 0 to 10",
		good + "timeout = \"soon\"":                                               "timeout is",
		good + "path = \"/x\"":                                                    "there is no command",
		good + "data = \"x\"":                                                     "data is that of an event",
		"name = \"a\"\nschedule = \"* * * * *\"\npath = \"x\"":                    "path is that of a URL",
		"name = \"a\"\nschedule = \"* * * * *\"\npath = \"/x\"\ntimeout = \"3s\"": "there is no command, overlap or timeout",
		"name = \"a\"\nschedule = \"* * * * *\"\npath = \"/x\"\ndata = \"" + strings.Repeat("x", 8193) + "\"": "at most 8 KiB",
		good + "every = 1":                      "unknown setting",
		good + "[[io.gitd.schedules]]\n" + good: "another of that name",
	} {
		_, err := Parse("# a comment\n\n[[io.gitd.schedules]]\n" + text)
		if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		} else if line := "line 3: "; want != "unknown setting" && want != "another of that name" && !strings.Contains(err.Error(), line) {
			t.Errorf("%s: no line: %v", text, err)
		}
	}
}

// A schedule with a path is a trigger too: it has its name alone.
func TestSchedules_NameOfTrigger(t *testing.T) {
	_, err := Parse("[[io.gitd.schedules]]\nname = \"tick\"\nschedule = \"* * * * *\"\npath = \"/tick\"\n[[io.gitd.triggers]]\nname = \"tick\"\n")
	if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "a schedule with a path has that name") {
		t.Error(err)
	}
}
