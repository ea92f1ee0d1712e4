package release

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestParseScale(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"web=1..10", "web=1..10", ""},
		{"web=3", "web=3", ""},
		{"web=0..5", "web=0..5", ""},
		{"web=0..", "web=0.. open", ""},
		{"web=2..", "web=2.. open", ""},
		{"worker=2", "worker=2", ""},
		{"worker=0", "worker=0", ""},
		{"my.Worker_1=100", "my.Worker_1=100", ""},
		{"worker=default", "worker default", ""},
		{"web=default", "web default", ""},
		{"", "", `"" is not a number of instances`},
		{"web", "", `"web" is not a number of instances`},
		{"=3", "", "is not a number of instances"},
		{"-x=3", "", "is not a number of instances"},
		{"a b=3", "", "is not a number of instances"},
		{"web=", "", `web: "" is not a number of instances`},
		{"web=..5", "", `web: "..5" is not a number of instances`},
		{"web=0", "", "web=0 leaves no instance for requests"},
		{"web=0..0", "", "web=0..0 leaves no instance for requests"},
		{"web=5..2", "", "web: 5 is more than 2"},
		{"web=1..2..3", "", "is not a number of instances"},
		{"web=1001", "", "is not a number of instances"},
		{"web=-1", "", "is not a number of instances"},
		{"web=99999999999999999999", "", "is not a number of instances"},
		{"worker=101", "", "is not a number of instances"},
		{"worker=1..3", "", "takes no requests that its number could follow"},
		{"worker=1.5", "", "is not a number of instances"},
		{"web=\x1b[31m", "", `web: "\x1b[31m" is not a number of instances`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			a, err := ParseScale(tt.text)
			if tt.err != "" {
				if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			got := a.String()
			if a.Default {
				got = a.Type + " default"
			}
			if a.Open {
				got += " open"
			}
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
