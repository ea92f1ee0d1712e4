package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

// group takes part in the builds of written.
var group = phase.Group{Buildpacks: []phase.Buildpack{{ID: "gitd/go", Version: "0.1.0"}, {ID: "gitd/node", Version: "1"}, {ID: "gitd/static", Version: "2"}}}

// written is an engine whose container writes these lines.
type written struct{ lines []string }

func (w written) Run(ctx context.Context, s *Session) error {
	out := s.Detect(func() (phase.Group, error) { return group, nil })
	for _, l := range w.lines {
		if _, err := fmt.Fprintln(out, strings.ReplaceAll(l, "MARKER", s.Marker)); err != nil {
			return err
		}
	}
	if err := s.Built(ctx); err != nil {
		return err
	}
	return errors.New("there is no image")
}

func (written) Ended(context.Context, *Session, error) {}

// Each part of a build is told when it has ended, and the buildpack that did not come to its end is the one that failed.
func TestSteps(t *testing.T) {
	const passed = "MARKER detected 0"
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{[]string{"nothing fits", "MARKER detected 20"}, "detect failed"},
		{[]string{passed, "Running build for buildpack gitd/go@0.1.0", "compiling", "Finished running build for buildpack gitd/go@0.1.0"}, "detect, gitd/go 0.1.0, build"},
		{[]string{passed, "Running build for buildpack gitd/node@1", "Finished running build for buildpack gitd/node@1", "Running build for buildpack gitd/static@2", "no such file"},
			"detect, gitd/node 1, gitd/static 2 failed, build failed"},
		{[]string{passed, "Finished running build for buildpack gitd/forged@1", "Running build for buildpack forged@1", "Running build for buildpack gitd/go@0.1.0", "Running build for buildpack gitd/go@0.1.0"},
			"detect, gitd/go 0.1.0 failed, build failed"},
	} {
		var all []string
		sessions := Sessions{Quiet: time.Hour}
		_, err := sessions.Run(t.Context(), build.Request{App: "shop", Version: 1, Log: app.NewLog(io.Discard), Step: func(s build.Step) {
			name := strings.TrimSpace(s.Name + s.Buildpack + " " + s.Version)
			if s.Failed {
				name += " failed"
			}
			if s.Took < 0 || s.Began.IsZero() {
				t.Errorf("%+v", s)
			}
			all = append(all, name)
		}}, written{tt.lines})
		if err == nil {
			t.Error("the build has an image")
		}
		if got := strings.Join(all, ", "); got != tt.want {
			t.Errorf("%q, not %q", got, tt.want)
		}
	}
}
