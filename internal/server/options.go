package server

import (
	"cmp"
	"os"
	"runtime"

	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/proxy"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/telemetry"
	"golang.org/x/sys/unix"
)

// Options configure a Server.
type Options struct {
	Config    config.Config
	Timings   bool // note the parts of each release in timings.jsonl
	HTTPPort  int  // port in the apps' URLs; 0 or 80 for none
	Files     int  // how many descriptors this process may have
	Log       func(format string, args ...any)
	Metrics   *telemetry.Metrics // nil: nothing is counted
	Tracer    *telemetry.Tracer  // nil: nothing is traced
	HTTPSPort int                // of HTTPS; 0: there is none
	Adopted   *proxy.Adopted     // the proxy that was there; nil: none was found yet
	Offline   bool               // it stands in for the server, for one command, and knows no settings
	HandsOver bool               // the proxy serves on for the next gitd when this one ends
	Held      func() *os.File    // returns a descriptor that is at its end when the service is stopped; nil: no service manager holds the other end
}

// platform is where the apps run. The zero value stands for this machine.
func (o *Options) platform() config.Platform { return cmp.Or(o.Config.Server.Platform, config.Local) }

// buildLimits are what one build may take.
func (o *Options) buildLimits() build.Limits {
	b := o.Config.Builds
	return build.Limits{Memory: b.Memory, Disk: b.Disk, Cache: b.Cache, Files: b.Files, CacheFiles: b.CacheFiles, Time: b.Time}
}

// caps are what apps may ask for.
func (o *Options) caps() release.Caps {
	l := o.Config.Limits
	return release.Caps{Memory: o.byMachine(l.Memory), CPU: l.CPU, Scale: l.Scale, MinScale: l.MinScale, KeyMemory: o.byMachine(l.KeyMemory), Previews: l.Previews}
}

// byMachine replaces config.ByMachine by half of the memory, at least what an app gets by default; on a cluster by 0, no limit.
func (o *Options) byMachine(limit int64) int64 {
	switch {
	case limit != config.ByMachine:
		return limit
	case o.platform() != config.Local:
		return 0
	}
	memory, ok := machineMemory()
	if !ok {
		return 0
	}
	return max(512<<20, memory/2)
}

// places is how many builds run at a time.
func (o *Options) places() int {
	const onCluster = 32 // its scheduler decides on the rest; what gitd itself does for a build is small
	memory, ok := machineMemory()
	switch {
	case o.Config.Builds.Concurrency > 0:
		return o.Config.Builds.Concurrency
	case o.platform() != config.Local:
		return onCluster
	case !ok:
		return 1
	}
	return build.Places(runtime.NumCPU(), memory, o.buildLimits())
}

// machineMemory returns the bytes of memory of this machine, and false where the kernel does not say.
func machineMemory() (int64, bool) {
	var m unix.Sysinfo_t
	if unix.Sysinfo(&m) != nil {
		return 0, false
	}
	return int64(m.Totalram) * int64(m.Unit), true
}

// indexer is what indexes pushed packs.
func (o *Options) indexer() repository.Indexer {
	if o.Config.Git.Indexer == "git" {
		return repository.NewGitIndexer()
	}
	return repository.NewPackIndexer()
}
