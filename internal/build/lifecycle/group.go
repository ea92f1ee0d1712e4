package lifecycle

import (
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

// TellGroup says which buildpacks take part, and returns them. A group that could not be read, and one with image extensions, is an error.
func TellGroup(log *app.Log, o *Output, g phase.Group, unread error) ([]build.Buildpack, error) {
	if unread != nil {
		return nil, app.Errorf(app.CodeDetectFailed, "ask the operator whether the builder image is whole", "detection failed: its result cannot be read: %s", Clip(unread.Error()))
	}
	if len(g.Extensions) > 0 {
		return nil, app.Errorf(app.CodeDetectFailed, "ask the operator for a builder without image extensions",
			"the builder wants to change its image by the extension %s, which this engine does not do", Clip(g.Extensions[0].ID))
	}
	var out []build.Buildpack
	var keys, names []string
	for _, bp := range g.Buildpacks {
		out = append(out, build.Buildpack{ID: bp.ID, Version: bp.Version})
		keys = append(keys, bp.ID+"@"+bp.Version)
		names = append(names, bp.ID+" "+bp.Version)
	}
	log.Step("Detecting: %s", o.Summary(keys))
	log.Step("Building with %s", strings.Join(names, ", "))
	return out, nil
}
