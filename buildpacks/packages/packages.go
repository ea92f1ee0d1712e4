// Package packages is the buildpack that installs the Debian packages an app asks for, by [io.gitd.build] packages in project.toml or by an Aptfile. It
// comes before those of the languages: compilers find headers and libraries of the packages, and so does the app when it runs.
package packages

import (
	"io"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// aptfile is the list of packages that other platforms read.
const aptfile = "Aptfile"

// Buildpack installs Debian packages.
type Buildpack struct{ Out io.Writer }

// New returns the buildpack.
func New(out io.Writer) Buildpack { return Buildpack{Out: out} }

// Detect implements libcnb.Detector. A malformed Aptfile passes and fails the build: this buildpack is optional in its groups, where the lifecycle would
// take an error for "go on without".
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	env := kit.NewEnv(ctx.Platform.Environment)
	var from []string
	if len(env.Words(catalog.PackagesVariable)) > 0 {
		from = append(from, "project.toml")
	}
	if names, err := readAptfile(ctx.Application.Path, io.Discard); err != nil || len(names) > 0 {
		from = append(from, aptfile)
	}
	if from == nil {
		return libcnb.DetectResult{}, nil
	}
	return kit.Detected(b.Out, "Debian packages (%s)", strings.Join(from, ", ")), nil
}

// Build implements libcnb.Builder.
func (b Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	env := kit.NewEnv(ctx.Platform.Environment)
	names, err := readAptfile(ctx.Application.Path, b.Out)
	if err != nil {
		return result, err
	}
	names = append(names, env.Words(catalog.PackagesVariable)...)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > catalog.MaxPackages {
		return result, kit.Errorf("name fewer: what they need comes by itself", "%d Debian packages are asked for, at most %d can be", len(names), catalog.MaxPackages)
	}
	kit.Say(b.Out, "Debian packages: %s", strings.Join(names, " "))
	cache := kit.OpenCache(ctx, env)
	tool, err := debs.Open(cache, env, b.Out)
	if err != nil {
		return result, err
	}
	// Two layers: what the next buildpacks compile with stays on this machine, and what the app runs with is taken over by its metadata.
	for _, l := range []struct {
		name  string
		types libcnb.LayerTypes
		r     debs.Request
	}{
		{"build", libcnb.LayerTypes{Build: true, Cache: true}, debs.Request{Packages: names}},
		{"run", libcnb.LayerTypes{Launch: true}, debs.Request{Packages: names, Launch: true, RunOnly: true}},
	} {
		layer, err := kit.OpenLayer(ctx, l.name)
		if err != nil {
			return result, err
		}
		set, reused, err := tool.Layer(layer, l.types, l.r)
		if err != nil {
			return result, err
		}
		if reused {
			kit.Say(b.Out, "Using the %s layer of the last build", l.name)
		}
		if l.types.Launch {
			if err := kit.WriteSBOM(layer.Layer, set.SBOM()); err != nil {
				return result, err
			}
		}
		result.Layers = append(result.Layers, layer)
	}
	result.Layers = append(cache.Layers(), result.Layers...)
	return result, nil
}

// readAptfile reads the names of packages, one a line or several. What is after # is a comment.
func readAptfile(app string, out io.Writer) (names []string, err error) {
	if !kit.IsFile(app, aptfile) {
		return nil, nil
	}
	if _, err := kit.ReadFile(app, aptfile); err != nil {
		return nil, err
	}
	for i, line := range strings.Split(kit.Text(app, aptfile), "\n") {
		line, _, _ = strings.Cut(line, "#")
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, ":repo:"), strings.Contains(line, "://"):
			return nil, kit.Errorf("name packages of Debian "+catalog.DebianVersion+" only", "%s line %d: packages of other servers are not installed: %s", aptfile, i+1, line)
		default:
			for _, word := range strings.Fields(line) {
				name, version, pinned := strings.Cut(word, "=")
				if !debs.ValidName(name) {
					return nil, kit.Errorf("name one package a line", "%s line %d: %q is not the name of a Debian package", aptfile, i+1, word)
				}
				if pinned {
					kit.Say(out, "%s: %s comes in the version that Debian has, not in %s", aptfile, name, version)
				}
				names = append(names, name)
			}
		}
	}
	return names, nil
}
