package lifecycle

import (
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/build"
)

// begins notes that a buildpack ("ID@VERSION") builds from now on. The caller holds mu.
func (o *Output) begins(buildpack string) {
	o.buildpack = buildpack
	if len(o.steps) < remembered {
		id, version, _ := strings.Cut(buildpack, "@")
		o.steps = append(o.steps, build.Step{Buildpack: id, Version: version, Began: time.Now(), Failed: true})
	}
}

// finished notes that the buildpack has built. The caller holds mu.
func (o *Output) finished(buildpack string) {
	if n := len(o.steps); n > 0 && o.steps[n-1].Failed && o.steps[n-1].Buildpack+"@"+o.steps[n-1].Version == buildpack {
		o.steps[n-1].Took, o.steps[n-1].Failed = time.Since(o.steps[n-1].Began), false
	}
}

// built returns the buildpacks that have built until now, the one last that did not come to its end.
func (o *Output) built(now time.Time) []build.Step {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Clone(o.steps)
	for i := range all {
		if all[i].Failed {
			all[i].Took = now.Sub(all[i].Began)
		}
	}
	return all
}
