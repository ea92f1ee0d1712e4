package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

// work is an engine's part made of functions.
type work struct {
	run   func(ctx context.Context, s *Session) error
	ended func(err error)
}

func (w work) Run(ctx context.Context, s *Session) error { return w.run(ctx, s) }

func (w work) Ended(_ context.Context, _ *Session, err error) {
	if w.ended != nil {
		w.ended(err)
	}
}

func request(log *bytes.Buffer) build.Request {
	return build.Request{App: "hello", Version: 3, Log: app.NewLog(log)}
}

var goGroup = phase.Group{Buildpacks: []phase.Buildpack{{ID: "gitd/go", Version: "0.1.0"}}}

// The whole of a build that succeeds, as an engine does it.
func TestSession(t *testing.T) {
	var log bytes.Buffer
	all := &Sessions{Quiet: time.Minute}
	var ended error = errors.New("not called")
	r, err := all.Run(t.Context(), request(&log), work{func(ctx context.Context, s *Session) error {
		out := s.Detect(func() (phase.Group, error) { return goGroup, nil })
		_, _ = out.Write([]byte("\n" + s.Marker + " detected 0\nRunning build for buildpack gitd/go@0.1.0\ncompiling"))
		if err := s.Built(ctx); err != nil {
			return err
		}
		s.Result.Digest, s.Result.LayersReused, s.Result.LayersAdded, s.Result.AddedBytes = "sha256:0123456789", 1, 2, 2_000_000
		return s.Exported()
	}, func(err error) { ended = err }})
	if err != nil || ended != nil || r.Repository != "hello" || len(r.Buildpacks) != 1 || r.Times.Build <= 0 {
		t.Errorf("%+v, %v, %v", r, err, ended)
	}
	for _, line := range []string{"-----> Detecting: gitd/go 0.1.0\n", "-----> Building with gitd/go 0.1.0\n", "       compiling\n", "-----> Image hello@sha256:0123… (1 layer reused, 2 added, 1.9 MiB) in 0.0s\n"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("%q is missing in\n%s", line, log.String())
		}
	}
}

func TestSession_Fails(t *testing.T) {
	detect := func(group phase.Group, unread error, lines string) func(ctx context.Context, s *Session) error {
		return func(ctx context.Context, s *Session) error {
			_, _ = s.Detect(func() (phase.Group, error) { return group, unread }).Write([]byte(lines + s.Marker + " detected 0\n"))
			return s.Built(ctx)
		}
	}
	for name, tt := range map[string]struct {
		change  func(*build.Request)
		run     func(ctx context.Context, s *Session) error
		code    app.Code
		message string
	}{
		"Name":       {func(r *build.Request) { r.App = "Hello" }, nil, app.CodeInvalidName, ""},
		"NoName":     {func(r *build.Request) { r.App = "../x" }, nil, app.CodeInvalidName, ""},
		"Unread":     {nil, detect(phase.Group{}, errors.New("no group.toml"), ""), app.CodeDetectFailed, "detection failed: its result cannot be read: no group.toml"},
		"Extensions": {nil, detect(phase.Group{Extensions: goGroup.Buildpacks}, nil, ""), app.CodeDetectFailed, "the builder wants to change its image by the extension gitd/go"},
		"Refused": {nil, detect(goGroup, nil, "======== Output: gitd/go@0.1.0 ========\ngitd-error: go.mod is malformed\n"), app.CodeDetectFailed,
			"detection by gitd/go 0.1.0 failed: go.mod is malformed"},
		"Time": {func(r *build.Request) { r.Limits.Time = time.Millisecond }, func(ctx context.Context, s *Session) error {
			s.Progress.Enter("export")
			<-ctx.Done()
			return context.Cause(ctx)
		}, app.CodeLimitExceeded, "the build was stopped at its time limit of 1ms, in the export"},
		"Cancelled": {nil, func(ctx context.Context, s *Session) error {
			s.Cancel(app.Errorf(app.CodeLimitExceeded, "x", "over the disk limit"))
			<-ctx.Done()
			return errors.New("container: killed")
		}, app.CodeLimitExceeded, "over the disk limit"},
		"NoImage": {nil, func(_ context.Context, s *Session) error { return s.Exported() }, app.CodeInternal, "export: no image"},
		"Exit": {nil, func(ctx context.Context, s *Session) error {
			s.Detect(nil)
			if err := s.Built(ctx); err != nil {
				return err
			}
			return s.Failed(Exit{Code: 137, OutOfMemory: true})
		}, app.CodeLimitExceeded, "the build was killed at its memory limit of 2 GiB, in the detection"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			r := request(&log)
			if tt.change != nil {
				tt.change(&r)
			}
			all := &Sessions{Quiet: time.Minute}
			result, err := all.Run(t.Context(), r, work{run: tt.run})
			if result != nil || app.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("%v, %v", result, err)
			}
			if release, err := all.Lock(t.Context(), r.App); err != nil { // it is not held any more
				t.Error(err)
			} else {
				release()
			}
		})
	}
}

// One build of an app runs at a time; the lock may outlast a build that succeeded, not one that failed. A build that waits ends with its caller.
func TestSession_Lock(t *testing.T) {
	var log bytes.Buffer
	all := &Sessions{Quiet: time.Minute}
	var release func()
	hold := func(err error) func(ctx context.Context, s *Session) error {
		return func(_ context.Context, s *Session) error {
			release = s.Hold()
			return err
		}
	}
	failure := errors.New("failure")
	if _, err := all.Run(t.Context(), request(&log), work{run: hold(failure)}); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	if _, err := all.Run(t.Context(), request(&log), work{run: hold(nil)}); err != nil {
		t.Fatal(err)
	}
	left := errors.New("the client left")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, left)
	defer cancel()
	if _, err := all.Run(ctx, request(&log), work{}); !errors.Is(err, left) || !strings.Contains(log.String(), "waiting for the build before this one to end") {
		t.Errorf("%v\n%s", err, log.String())
	}
	release()
	if _, err := all.Run(t.Context(), request(&log), work{run: func(context.Context, *Session) error { return nil }}); err != nil {
		t.Error(err)
	}
}

func TestNewest(t *testing.T) {
	for want, tags := range map[string]map[string]string{
		"":  {"latest": "x", "vx": "y"},
		"b": {"v2": "a", "v10": "b", "11": "c", "v9": "d"},
	} {
		if got := Newest(tags); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
