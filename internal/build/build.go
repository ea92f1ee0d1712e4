// Package build turns source into an image. Builder is what the rest of gitd knows; the engines are in folders below.
package build

import (
	"context"
	"maps"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/function"
)

// Limits bound one build. Zero values stand for the defaults.
type Limits struct {
	Memory int64         // bytes; default 2 GiB
	CPU    float64       // cores; default all
	PIDs   int64         // default 2048
	Disk   int64         // bytes that workspace, layers and cache may take together; default 8 GiB
	Time   time.Duration // default 15 minutes
	Cache  int64         // bytes that the app's cache may keep after the build; default 2 GiB

	Files      int64 // files and folders that workspace, layers and cache may hold together; default 500,000
	CacheFiles int64 // files and folders that the app's cache may keep; default 250,000
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.Memory, 2<<30)
	set(&l.PIDs, 2048)
	set(&l.Disk, 8<<30)
	set(&l.Cache, 2<<30)
	set(&l.Files, 500_000)
	set(&l.CacheFiles, 250_000)
	if l.Time == 0 {
		l.Time = 15 * time.Minute
	}
	return l
}

// Request asks for one build.
type Request struct {
	App        string // also the repository in the registry
	AppID      int64  // the app's ID, from 1: no other app ever has it
	Version    int    // the release that the image is for; it names what the build leaves on disk
	Commit     string // 40 hex digits
	Source     app.Source
	Env        map[string]string // build environment (platform/env): never run-time configuration
	Secrets    map[string][]byte // variables of the app's configuration that builds may see, in place of those of Env; on no disk of this machine
	AppDir     string            // folder of the source that is the app, clean; "" for its root
	Buildpacks []Buildpack       // that take part, all of them; none: those of the builder's order that fit
	ClearCache bool
	CacheOf    app.App // whose cache the first build of App begins with a copy of, where the engine can; ID 0 for none
	Limits     Limits
	Log        *app.Log   // the engine writes "Detecting: …", "Building with …" and the output of the buildpacks
	Step       func(Step) // is told each part of the build when it has ended, one at a time; may be nil
}

// Step is a part of a build that has ended.
type Step struct {
	Name      string // "checkout", "analyze", "detect", "build", "export"; "" for a buildpack's part of "build"
	Buildpack string // its ID, where Name is ""
	Version   string // of the buildpack
	Began     time.Time
	Took      time.Duration
	Failed    bool // the build ended with it
}

// Environment is all that goes into platform/env.
func (r *Request) Environment() map[string]string {
	all := maps.Clone(r.Env)
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range r.Secrets {
		all[name] = string(value)
	}
	return all
}

// Buildpack is one that took part.
type Buildpack struct {
	ID      string
	Version string
}

// Result is an image in the registry.
type Result struct {
	Repository   string
	Digest       string // "sha256:…"
	Buildpacks   []Buildpack
	Processes    []app.Process
	Function     *function.Spec // that the image serves; nil for an app that is none
	LayersReused int
	LayersAdded  int
	AddedBytes   int64 // compressed size of the layers that were added
	Times        Times
}

// Times are the parts of a build.
type Times struct {
	Checkout, Analyze, Detect, Build, Export time.Duration
	Wait                                     time.Duration // for the cluster: to start the build's containers, and to say what they did; 0 on one machine
}

// Builder builds images. Build blocks until the image is in the registry, ctx ends (nothing of the build is running any more
// when it returns, and ctx's cause is in the error's chain) or the build fails with an *app.Error: DetectFailed, BuildFailed,
// ExportFailed or LimitExceeded, its message naming the phase.
type Builder interface {
	Build(ctx context.Context, r Request) (*Result, error)
}
