package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// chosen is the detection of a buildpack as the platform has it: one that the app asks for takes part, whatever its own rules are for apps that
// ask for nothing, and one that takes an app with the files of other languages says so.
type chosen struct {
	libcnb.Detector
	id  string
	out io.Writer
}

// Detect implements libcnb.Detector.
func (c chosen) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	if c.id == catalog.Procfile || c.id == catalog.Packages {
		return c.Detector.Detect(ctx)
	}
	asked := kit.NewEnv(ctx.Platform.Environment).Bool(catalog.AskedVariable)
	if !asked {
		r, err := c.Detector.Detect(ctx)
		if also := others(ctx.Application.Path, c.id); err == nil && r.Pass && len(also) > 0 {
			fmt.Fprintf(c.out, "gitd-also: %s\n", strings.Join(also, ", "))
		}
		return r, err
	}
	r, err := c.Detector.Detect(ctx)
	if err == nil && !r.Pass {
		return kit.Detected(c.out, "%s (named in project.toml)", strings.TrimPrefix(c.id, "gitd/")), nil
	}
	return r, err
}

// marks are the files by which people tell that an app is of a language.
var marks = []struct {
	id    string
	files []string
}{
	{"gitd/go", []string{"go.mod"}},
	{"gitd/rust", []string{"Cargo.toml"}},
	{"gitd/elixir", []string{"mix.exs"}},
	{"gitd/nodejs", []string{"package.json"}},
	{"gitd/python", []string{"requirements.txt", "pyproject.toml", "Pipfile", "uv.lock"}},
	{"gitd/ruby", []string{"Gemfile"}},
	{"gitd/php", []string{"composer.json"}},
	{"gitd/java", []string{"pom.xml", "build.gradle", "build.gradle.kts"}},
}

// others are the languages of this builder, beside the one of the buildpack, that the app has a file of: "nodejs (package.json)".
func others(app, id string) (found []string) {
	for _, m := range marks {
		known := slices.ContainsFunc(catalog.All(), func(b catalog.Buildpack) bool { return b.ID == m.id })
		if m.id == id || !known || id == catalog.Static {
			continue
		}
		for _, f := range m.files {
			if kit.IsFile(app, f) {
				found = append(found, fmt.Sprintf("%s (%s)", strings.TrimPrefix(m.id, "gitd/"), f))
				break
			}
		}
	}
	return found
}
