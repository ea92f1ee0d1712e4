// Package parts finds the programs that are shipped beside gitd: the shim that watches an instance, the proxy, the buildpacks, the
// lifecycle and its launcher, what runs functions of Lambda, what reads and writes images for builds, what makes the builder image, and what runs in Pods on a cluster.
package parts

import (
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
)

// The parts. Each is a static binary.
const (
	Shim       = "gitd-shim"    // watches one container: cmd/gitd-shim
	Proxy      = "gitd-proxy"   // carries the requests of users: cmd/gitd-proxy
	Buildpacks = "buildpacks"   // all of our buildpacks: buildpacks/
	Lambda     = "gitd-lambda"  // runs functions that are written for AWS Lambda, in their images: cmd/gitd-lambda
	Lifecycle  = "lifecycle"    // github.com/buildpacks/lifecycle/cmd/lifecycle
	Launcher   = "launcher"     // github.com/buildpacks/lifecycle/cmd/launcher
	Helper     = "gitd-helper"  // reads and writes images for builds in a sandbox: cmd/gitd-helper
	Phases     = "gitd-phases"  // detects and builds in the container of a build in a sandbox: cmd/gitd-phases
	Builder    = "gitd-builder" // makes the builder image: cmd/gitd-builder
	ACME       = "gitd-acme"    // obtains certificates: cmd/gitd-acme
	Pod        = "gitd-pod"     // runs in the Pods of builds on a cluster: cmd/gitd-pod
	Keeper     = "gitd-keeper"  // keeps events on a cluster: cmd/gitd-keeper
)

// Dir is where the parts are: $GITD_PARTS, else the folder "parts" beside the executable.
func Dir() (string, error) {
	if d := os.Getenv("GITD_PARTS"); d != "" {
		return filepath.Abs(d)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(exe), "parts"), nil
}

// Path returns the file of a part. It returns an *app.Error with code Unavailable when the file is not there.
func Path(name string) (string, error) {
	d, err := Dir()
	if err != nil {
		return "", err
	}
	p := filepath.Join(d, name)
	if _, err := os.Stat(p); err != nil {
		return "", app.Errorf(app.CodeUnavailable, "run make build, or set GITD_PARTS to the folder that has it", "the program %s is missing: %w", p, err)
	}
	return p, nil
}

// detector is the setting of the race detector, for a gitd that is built with it.
var detector []string

// Env is the environment (NAME=VALUE) of a part that gets nothing of gitd's own but settings.
func Env(settings ...string) []string { return append(settings, detector...) }
