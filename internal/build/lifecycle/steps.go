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
	for i := range slices.Backward(o.steps) {
		if s := &o.steps[i]; s.Failed && s.Buildpack+"@"+s.Version == buildpack {
			s.Took, s.Failed = time.Since(s.Began), false
			return
		}
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
