package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	outOfProcesses = pattern.New(`(?i)resource temporarily unavailable|cannot allocate memory.*fork|fork: retry|pthread_create failed|can't start new thread|cannot fork|failed to create new OS thread|EAGAIN`)
	fileTooLarge   = pattern.New(`(?i)file too large|EFBIG|file size limit exceeded`)
	diskIsFull     = pattern.New(`(?i)no space left on device|ENOSPC`)
)

// inFolder is a hint that an app is in a folder: "package.json is in web/".
var inFolder = pattern.New(`(?m) is in (\S+?)/`)

// Exit says how a phase ended.
type Exit struct {
	Code        int    // 128+n where a signal ended it
	Signal      string // "killed", "segmentation fault"; "" where it exited
	OutOfMemory bool   // it was killed at its memory limit
}

// Exit statuses of the lifecycle, of the platform specification. Package platform of the lifecycle has them too, with credential helpers for
// clouds that this program need not have.
const (
	incompatiblePlatformAPI  = 11
	incompatibleBuildpackAPI = 12
	failedDetect             = 20
	failedDetectWithErrors   = 21
	failedBuildWithErrors    = 51
)

// Failure turns the end of the container into a sentence.
func Failure(exit Exit, o *Output, limits build.Limits) error {
	o.Flush()
	o.mu.Lock()
	building, bp := o.building, strings.ReplaceAll(o.buildpack, "@", " ")
	lines := strings.Join(o.lines, "\n")
	o.mu.Unlock()
	phase := "build"
	if !building {
		phase = "detection"
	}
	if bp != "" {
		phase += " by " + bp
	}
	switch {
	case exit.OutOfMemory:
		return app.Errorf(app.CodeLimitExceeded, "have the build use less memory, such as by fewer parallel jobs, or ask the operator for a higher memory limit (gitd serve --build-memory)",
			"the build was killed at its memory limit of %s, in the %s", app.Size(limits.Memory), phase)
	case exit.Signal == "file size limit exceeded" || fileTooLarge.MatchString(lines):
		return app.Errorf(app.CodeLimitExceeded, "have the build write smaller files, or ask the operator for a higher disk limit (gitd serve --build-disk)",
			"the build was stopped at its disk limit of %s for a file, in the %s", app.Size(limits.Disk), phase)
	case outOfProcesses.MatchString(lines):
		return ProcessesExceeded(limits)
	case diskIsFull.MatchString(lines):
		return app.Errorf(app.CodeLimitExceeded, "have the build write less, or ask the operator to make room on the server's disk",
			"no space was left for the build, in the %s", phase)
	}
	if !building {
		return detectionFailure(exit, o)
	}
	reason := o.reason()
	switch {
	case exit.Code == failedBuildWithErrors && reason != "":
		return app.Errorf(app.CodeBuildFailed, "fix the errors above, commit and push again", "%s failed: %s", phase, reason)
	case exit.Code == failedBuildWithErrors:
		return app.Errorf(app.CodeBuildFailed, "look at the lines above, commit and push again", "%s failed: the buildpack gave no reason", phase)
	case exit.Signal != "":
		return app.Errorf(app.CodeBuildFailed, "push again; where it ends the same way, look at the lines above", "%s failed: it was ended by a signal (%s)", phase, exit.Signal)
	}
	return app.Errorf(app.CodeBuildFailed, "ask the operator whether the builder image is whole", "%s failed: %s", phase, lifecycleReason(exit, o))
}

// ProcessesExceeded is the error of a build that was stopped at its limit of processes.
func ProcessesExceeded(limits build.Limits) error {
	return app.Errorf(app.CodeLimitExceeded, "have the build run fewer processes at once, or ask the operator for a higher limit",
		"the build was stopped at its limit of %d processes and threads", limits.PIDs)
}

// Refusal is the error of a source that a buildpack found something wrong with at detection; nil where none did.
func (o *Output) Refusal() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.toldBy == "" {
		return nil
	}
	o.log.Detail("%s", o.told)
	return app.Errorf(app.CodeDetectFailed, "fix the error above, commit and push again",
		"detection by %s failed: %s", named(o.toldBy), Clip(o.told))
}

// named writes a buildpack, "ID@VERSION", for people.
func named(buildpack string) string { return Clip(strings.ReplaceAll(buildpack, "@", " ")) }

func detectionFailure(exit Exit, o *Output) error {
	if err := o.Refusal(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch exit.Code {
	case failedDetect:
		what := "looked for " + strings.Join(o.lookedFor, ", ")
		if len(o.lookedFor) == 0 {
			what = "tried " + strings.ReplaceAll(strings.Join(o.refused, ", "), "@", " ")
		}
		next := "add one of these files at the root of the repository, commit and push again"
		if len(o.nearest) > 0 {
			what = strings.Join(o.nearest, "; ") + "; " + what // what is near helps, and a long line is cut at its end
			if m := inFolder.FindStringSubmatch(strings.Join(o.nearest, "\n")); m != nil {
				next = "name the app's folder in project.toml at the root of the repository: [io.gitd.build] app-dir = \"" + Clip(m[1]) + "\""
			}
		}
		return app.Errorf(app.CodeDetectFailed, next,
			"no language detected: %s", what)
	case failedDetectWithErrors:
		if len(o.broken) == 0 {
			break
		}
		all := slices.Sorted(maps.Keys(o.broken))
		for _, bp := range all {
			for _, l := range o.broken[bp] {
				o.log.Detail("%s", l)
			}
		}
		last := "it gave no reason"
		if said := o.broken[all[0]]; len(said) > 0 {
			last = Clip(said[len(said)-1])
		}
		return app.Errorf(app.CodeDetectFailed, "fix the file that it names, commit and push again", "detection by %s failed: %s", named(all[0]), last)
	}
	o.mu.Unlock()
	reason := lifecycleReason(exit, o)
	o.mu.Lock()
	return app.Errorf(app.CodeDetectFailed, "ask the operator whether the builder image is whole", "detection failed: %s", reason)
}

// lifecycleReason is what the lifecycle itself says, for failures that are not of the app.
func lifecycleReason(exit Exit, o *Output) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.errors); n > 0 {
		return Clip(o.errors[n-1])
	}
	switch exit.Code {
	case incompatiblePlatformAPI:
		return "the builder's lifecycle does not speak our platform API"
	case incompatibleBuildpackAPI:
		return "the builder's lifecycle does not speak a buildpack's API"
	case 126, 127:
		return "the builder image has no lifecycle in /cnb/lifecycle, or no shell"
	}
	return fmt.Sprintf("exit status %d", exit.Code)
}
