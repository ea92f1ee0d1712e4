package release

import (
	"context"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
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

// room is a platform with so much memory.
type room struct {
	deploy.Platform
	total, left int64
}

func (r *room) Memory(context.Context) (total, left int64) { return r.total, r.left }

// What could take more than the machine has left is refused, with what is there; less is not, whatever is left, nor where a scheduler decides.
func TestMachine_ScaleOverTheMachine(t *testing.T) {
	r := app.Release{App: "hello", Version: 2, Revision: "hello-v2"}
	for _, tt := range []struct {
		name        string
		total, left int64
		instances   int64
		want        string
	}{
		{"Fits", 4 << 30, 2 << 30, 4, ""},
		{"Over", 4 << 30, 1 << 30, 4, "could take 1536Mi more: the machine has 4 GiB, of which 1 GiB is left"},
		{"NothingLeft", 4 << 30, -1, 2, "of which 0 bytes is left"},
		{"Less", 4 << 30, 0, 0, ""},
		{"Scheduler", 0, 0, 50, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, nil, func(o *Options) { o.Platform = &room{total: tt.total, left: tt.left} })
			if _, err := m.o.Store.CreateApp(t.Context(), "hello", "dev"); err != nil {
				t.Fatal(err)
			}
			before := serviceOf(t, r, "worker")
			after := before.DeepCopy()
			deploy.SetScale(after, []deploy.Scale{{Type: "worker", Min: tt.instances, Max: tt.instances}})
			err := m.checkScale(t.Context(), "hello", before, after)
			if tt.want == "" && err != nil || tt.want != "" && (app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
