package lifecycle

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/keyed"
)

// Session is one build, as every engine does it. Its stages, and whose they are:
//
//  1. Sessions.Run checks the app's name and takes its lock: one build of an app runs at a time.
//  2. The clock starts: the time limit ends everything up to 7. From here on the push is told when nothing else is said for a while.
//  3. Work.Run, the engine's part, prepares: room on the disk, directories or a Pod; Newest finds the app's previous image.
//  4. The source is checked out, and the previous image is analyzed and its layers restored.
//  5. Detect: the detector runs. Its output goes to the Output that Detect returns; at its end the log has the group of buildpacks.
//  6. The builder runs, in the same Output. Built ends both: it says whether the build was cancelled or its group refused.
//  7. The image is exported. Exported puts the result line into the log.
//  8. Work.Ended tidies up. Sessions.Run says why a build failed, and gives the lock back, unless Hold kept it for what goes on.
type Session struct {
	Request  build.Request
	Limits   build.Limits // of the request, with the defaults
	Progress *Progress    // what the build is at
	Output   *Output      // of detector and builder; nil before Detect
	Result   build.Result
	Marker   string // begins the lines by which a container tells what the phases do; no build can guess it

	began    time.Time
	cancel   context.CancelCauseFunc
	held     func() // gives the lock back; nil unless the engine keeps it
	release  func()
	phases   times
	groupErr error      // why the group is refused; set before detection ends
	steps    sync.Mutex // guards phases, and calls of Request.Step
}

// times are when the phases in the container began; build is that of detect until the detection has passed.
type times struct{ detect, build time.Time }

// Took tells that a part of the build that began then has ended.
func (s *Session) Took(name string, began time.Time, failed bool) {
	s.step(build.Step{Name: name, Began: began, Took: time.Since(began), Failed: failed})
}

// step passes a part of the build on.
func (s *Session) step(step build.Step) {
	if s.Request.Step == nil {
		return
	}
	s.steps.Lock()
	defer s.steps.Unlock()
	s.Request.Step(step)
}

// Work is an engine's part of a session.
type Work interface {
	// Run builds, and fills in the session's result. When ctx ends it returns soon, with nothing of the build running any more.
	Run(ctx context.Context, s *Session) error
	// Ended tidies up after Run, which returned err. The app's lock is still held; ctx does not end with the build's.
	Ended(ctx context.Context, s *Session, err error)
}

// Sessions are the builds of an engine.
type Sessions struct {
	Quiet time.Duration // how long to be silent before saying that something goes on
	locks keyed.Locks
}

// Lock takes the lock of an app while none of its builds runs.
func (all *Sessions) Lock(ctx context.Context, name string) (release func(), err error) {
	return all.locks.Acquire(ctx, name, func() {})
}

// Run runs a build. It returns what build.Builder says of Build.
func (all *Sessions) Run(ctx context.Context, r build.Request, w Work) (*build.Result, error) {
	if n, err := app.ParseName(r.App); err != nil {
		return nil, err
	} else if n != r.App {
		return nil, app.Errorf(app.CodeInvalidName, "use the name "+n, "invalid app name %q", r.App)
	}
	marker, err := RandomHex(8)
	if err != nil {
		return nil, err
	}
	release, err := all.locks.Acquire(ctx, r.App, func() { r.Log.Detail("waiting for the build before this one to end") })
	if err != nil {
		return nil, fmt.Errorf("build of %s v%d stopped: %w", r.App, r.Version, err)
	}
	s := &Session{Request: r, Limits: r.Limits.WithDefaults(), Progress: NewProgress(r.Log, all.Quiet), Marker: "gitd-" + marker, began: time.Now(), release: release}
	defer func() {
		if s.held == nil {
			release()
		}
	}()
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.cancel = cancel
	timer := time.AfterFunc(s.Limits.Time, func() { cancel(ErrTime) })
	defer timer.Stop()
	err = s.show(func() error { return w.Run(inner, s) })
	if err != nil {
		s.held = nil
	}
	w.Ended(context.WithoutCancel(ctx), s, err)
	if err != nil {
		return nil, Ended(ctx, inner, r, s.Limits, s.Progress.Phase(), err)
	}
	return &s.Result, nil
}

// show does something, and tells meanwhile that it goes on.
func (s *Session) show(do func() error) error {
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() { s.Progress.Show(stop) })
	defer shown.Wait()
	defer close(stop)
	return do()
}

// Cancel ends the build with err, which is what its caller is told.
func (s *Session) Cancel(err error) { s.cancel(err) }

// Hold keeps the app's lock beyond a build that succeeds, until the function that it returns is called. After one that fails the session
// gives the lock back.
func (s *Session) Hold() (release func()) {
	s.held = s.release
	return s.release
}

// Newest returns the digest of the newest release's image among an app's tags; "" if there is none.
func Newest(tags map[string]string) string {
	newest, digest := -1, ""
	for tag, d := range tags {
		version, ok := strings.CutPrefix(tag, "v")
		if n, err := strconv.Atoi(version); ok && err == nil && n > newest {
			newest, digest = n, d
		}
	}
	return digest
}

// Detect begins the detection: what detector and builder write is for the Output that it returns. When detection has passed, group reads which
// buildpacks take part. Where that cannot be, the build is cancelled.
func (s *Session) Detect(group func() (phase.Group, error)) *Output {
	s.phases.detect = time.Now()
	s.phases.build = s.phases.detect
	s.Progress.Enter("detection")
	s.Output = NewOutput(s.Request.Log, s.Marker, func() {
		s.steps.Lock()
		s.phases.build = time.Now()
		s.steps.Unlock()
		s.Progress.Enter("build")
		if s.groupErr = s.Output.Refusal(); s.groupErr == nil {
			s.groupErr = s.tellGroup(group())
		}
		if s.groupErr != nil {
			s.cancel(s.groupErr) // the container goes on to build
		}
	})
	s.Progress.Watch(s.Output)
	return s.Output
}

// Detecting tells that the detection begins only now, where the engine called Detect before: what was started waits until then.
func (s *Session) Detecting() {
	s.steps.Lock()
	defer s.steps.Unlock()
	s.phases.detect = time.Now()
	s.phases.build = s.phases.detect
}

// Built ends detection and build: nothing is written to the Output any more. It returns an error where the build was cancelled, or its group of
// buildpacks refused; else it is for the engine to say how the container ended.
func (s *Session) Built(ctx context.Context) error {
	s.Output.Flush()
	now := time.Now()
	s.Result.Times.Detect, s.Result.Times.Build = s.phases.build.Sub(s.phases.detect), now.Sub(s.phases.build)
	s.tellSteps(now)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return s.groupErr
}

// tellSteps tells how long detection, the buildpacks and all of the build took. A buildpack that did not say that it has finished is the one that failed.
func (s *Session) tellSteps(now time.Time) {
	if s.phases.build.Equal(s.phases.detect) {
		s.step(build.Step{Name: "detect", Began: s.phases.detect, Took: now.Sub(s.phases.detect), Failed: true})
		return
	}
	s.step(build.Step{Name: "detect", Began: s.phases.detect, Took: s.phases.build.Sub(s.phases.detect)})
	failed := false
	group := slices.Clone(s.Result.Buildpacks) // each once: an app can write such lines as well
	for _, bp := range s.Output.built(now) {
		i := slices.Index(group, build.Buildpack{ID: bp.Buildpack, Version: bp.Version})
		if i < 0 {
			continue
		}
		group = slices.Delete(group, i, i+1)
		failed = failed || bp.Failed
		s.step(bp)
	}
	s.step(build.Step{Name: "build", Began: s.phases.build, Took: now.Sub(s.phases.build), Failed: failed})
}

// tellGroup says which buildpacks take part. A group that could not be read, and one with image extensions, is an error.
func (s *Session) tellGroup(g phase.Group, unread error) error {
	if unread != nil {
		return app.Errorf(app.CodeDetectFailed, "ask the operator whether the builder image is whole", "detection failed: its result cannot be read: %s", Clip(unread.Error()))
	}
	if len(g.Extensions) > 0 {
		return app.Errorf(app.CodeDetectFailed, "ask the operator for a builder without image extensions",
			"the builder wants to change its image by the extension %s, which this engine does not do", Clip(g.Extensions[0].ID))
	}
	var keys, names []string
	for _, bp := range g.Buildpacks {
		s.Result.Buildpacks = append(s.Result.Buildpacks, build.Buildpack{ID: bp.ID, Version: bp.Version})
		keys = append(keys, bp.ID+"@"+bp.Version)
		names = append(names, bp.ID+" "+bp.Version)
	}
	s.Request.Log.Step("Detecting: %s", s.Output.Summary(keys))
	if also := s.Output.Also(keys); also != "" {
		s.Request.Log.Detail("there is also %s; what builds the app is for project.toml to overrule: [io.gitd.build] buildpacks = [\"%s\"]", app.Plain(also), firstWord(also))
	}
	s.Request.Log.Step("Building with %s", strings.Join(names, ", "))
	return nil
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(app.Plain(s), " ")
	return word
}

// Failed turns the end of the container that detected and built into an error.
func (s *Session) Failed(exit Exit) error { return Failure(exit, s.Output, s.Limits) }

// Labelled notes what the image's label says of the function that it serves; "" for none.
func (s *Session) Labelled(label string) (err error) {
	if s.Result.Function, err = function.Parse(label); err != nil {
		return app.Errorf(app.CodeBuildFailed, "a buildpack of the build wrote it: push again with the builder's own", "%s", app.Line(err.Error(), 300))
	}
	return nil
}

// Exported says what image came of the build. The engine has filled in the result.
func (s *Session) Exported() error {
	r := &s.Result
	if r.Repository = s.Request.App; r.Digest == "" {
		return errors.New("export: no image")
	}
	added := fmt.Sprintf("%d added", r.LayersAdded)
	if r.LayersAdded > 0 {
		added += ", " + app.Size(r.AddedBytes)
	}
	plural := "s"
	if r.LayersReused == 1 {
		plural = ""
	}
	s.Request.Log.Step("Image %s@%s… (%d layer%s reused, %s) in %.1fs", r.Repository, r.Digest[:min(len(r.Digest), len("sha256:")+4)],
		r.LayersReused, plural, added, time.Since(s.began).Seconds())
	return nil
}

// RandomHex returns so many random bytes in hexadecimal.
func RandomHex(bytes int) (string, error) {
	b := make([]byte, bytes)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}
