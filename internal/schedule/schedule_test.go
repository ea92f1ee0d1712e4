package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/schedule"
)

func TestTimes(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ cron, zone, after, next string }{
		{"* * * * *", "UTC", "2026-01-01 00:00", "2026-01-01 00:01"},
		{"*/15 * * * *", "UTC", "2026-01-01 00:16", "2026-01-01 00:30"},
		{"30 4 * * 1-5", "UTC", "2026-01-02 05:00", "2026-01-05 04:30"}, // a Friday, and the Monday after
		{"0 9 * * *", "Europe/Berlin", "2026-01-01 00:00", "2026-01-01 08:00"},
		{"0 9 * * *", "Europe/Berlin", "2026-07-01 00:00", "2026-07-01 07:00"},
		{"0 0 29 2 *", "UTC", "2026-01-01 00:00", "2028-02-29 00:00"},
		{"0 12 13 * 5", "UTC", "2026-01-01 00:00", "2026-01-02 12:00"},          // either day, as cron does
		{"30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-30 00:30"}, // 02:30 is not there on the 29th
		{"0 0 1 JAN *", "UTC", "2026-01-01 00:00", "2027-01-01 00:00"},
	} {
		s := schedule.Schedule{Cron: c.cron, Zone: c.zone}
		times, err := s.Times()
		if err != nil {
			t.Errorf("%s: %v", c.cron, err)
			continue
		}
		if got := times.Next(at(c.after)); !got.Equal(at(c.next)) {
			t.Errorf("%s in %s after %s: %s, want %s", c.cron, c.zone, c.after, got, c.next)
		}
	}
}

// Names that cron, Kubernetes and Dokku know stand for five fields.
func TestTimes_Names(t *testing.T) {
	after := time.Date(2026, 1, 31, 15, 32, 0, 0, time.UTC) // a Saturday
	for name, want := range map[string]string{"@hourly": "2026-01-31 16:00", "@daily": "2026-02-01 00:00", "@midnight": "2026-02-01 00:00", "@weekly": "2026-02-01 00:00",
		"@monthly": "2026-02-01 00:00", "@yearly": "2027-01-01 00:00", "@annually": "2027-01-01 00:00"} {
		s := schedule.Schedule{Cron: name, Zone: "UTC"}
		times, err := s.Times()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := times.Next(after).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestTimes_Errors(t *testing.T) {
	for _, c := range []struct{ cron, zone, want string }{
		{"* * * *", "UTC", "has 4 fields"}, {"* * * * * *", "UTC", "has 6 fields"}, {"", "UTC", "has 0 fields"}, {"@every 5m", "UTC", "@hourly"}, {"@reboot", "UTC", "@hourly"}, {"nope", "UTC", "has 1 field:"}, {"TZ=UTC * * * *", "UTC", "five"},
		{"61 * * * *", "UTC", "is not a schedule"}, {"a * * * *", "UTC", "is not a schedule"}, {"*/0 * * * *", "UTC", "is not a schedule"},
		{"0 0 30 2 *", "UTC", "is never due"}, {"0 0 31 4,6,9,11 *", "UTC", "is never due"},
		{"* * * * *", "Mars/Base", "not a time zone"}, {"* * * * *", "", "not a time zone"}, {"* * * * *", "Local", "not a time zone"}, {"* * * * *", "../etc/passwd", "not a time zone"},
	} {
		s := schedule.Schedule{Cron: c.cron, Zone: c.zone}
		if _, err := s.Times(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %q: %v", c.cron, c.zone, err)
		}
	}
}

func FuzzTimes(f *testing.F) {
	f.Add("*/5 1-3,7 * JAN-MAR ?")
	f.Add("0 0 30 2 *")
	f.Fuzz(func(t *testing.T, text string) {
		s := schedule.Schedule{Cron: text, Zone: "UTC"}
		times, err := s.Times()
		if err != nil {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := times.Next(now); !next.After(now) {
			t.Errorf("%q: %s", text, next)
		}
	})
}
