package project

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
)

// Buildpack is one that the app asks for instead of what detection finds.
type Buildpack struct {
	ID      string // as it is written: "nodejs" or "gitd/nodejs"
	Version string // "" for the builder's
}

// buildSettings are gitd's own of a build.
type buildSettings struct {
	AppDir     string   `toml:"app-dir"`
	Buildpacks []string `toml:"buildpacks"`
	Packages   []string `toml:"packages"`
}

// appSettings are those of one app, where several are in one repository.
type appSettings struct {
	AppDir     string   `toml:"app-dir"`
	Buildpacks []string `toml:"buildpacks"`
}

// group is a buildpack as the project descriptor writes it.
type group struct {
	ID      string         `toml:"id"`
	Version string         `toml:"version"`
	URI     string         `toml:"uri"`
	Script  map[string]any `toml:"script"`
}

// groups are the buildpacks before or after those of the builder.
type groups struct {
	Group []group `toml:"group"`
}

// maxBuildpacks bounds the list of an app.
const maxBuildpacks = 20

// build sets what the descriptor says of the build of the app with that name.
func (d *Descriptor) build(f *file, name string) error {
	g, of := &f.IO.Gitd, f.IO.Gitd.Apps[name]
	dir, key := g.Build.AppDir, "io.gitd.build.app-dir"
	if of.AppDir != "" {
		dir, key = of.AppDir, "io.gitd.apps."+name+".app-dir"
	}
	if dir != "" {
		clean := path.Clean(dir)
		if path.IsAbs(dir) || clean == ".." || strings.HasPrefix(clean, "../") || len(dir) > 1024 || app.Plain(dir) != dir {
			return bad("%s: %q is not a folder of the repository: write it as services/api", key, app.Plain(dir))
		}
		if clean != "." {
			d.AppDir = clean
		}
	}
	names := g.Build.Buildpacks
	if len(of.Buildpacks) > 0 {
		names = of.Buildpacks
	}
	standard := slices.Concat(f.IO.Buildpacks.Group, f.Build.Buildpacks)
	if len(names) > 0 && len(standard) > 0 {
		return bad("both [[io.buildpacks.group]] and [io.gitd.build] buildpacks say what builds the app: keep one of them")
	}
	for _, n := range names {
		d.Buildpacks = append(d.Buildpacks, Buildpack{ID: n})
	}
	for _, b := range standard {
		switch {
		case b.URI != "" || b.Script != nil:
			return bad("io.buildpacks.group: %s: a buildpack by uri or script is not possible; name one of the builder by its id", cmp.Or(app.Plain(b.ID), "an entry"))
		case b.ID == "":
			return bad("io.buildpacks.group: an entry has no id")
		}
		d.Buildpacks = append(d.Buildpacks, Buildpack{ID: b.ID, Version: b.Version})
	}
	if len(d.Buildpacks) > 0 {
		d.asked()
	}
	if len(d.Buildpacks) > maxBuildpacks {
		return bad("%d buildpacks, at most %d can be named", len(d.Buildpacks), maxBuildpacks)
	}
	return nil
}

// asked tells the buildpacks that the app names those that build it.
func (d *Descriptor) asked() { d.BuildEnv[catalog.AskedVariable] = "true" }

// remark notes the standard keys that have no effect here: none is ignored without a word.
func (d *Descriptor) remark(f *file, meta toml.MetaData) {
	say := func(format string, args ...any) { d.Remarks = append(d.Remarks, fmt.Sprintf(format, args...)) }
	if f.IO.Buildpacks.Builder != "" || f.Build.Builder != "" {
		say("%s: the builder that it names is not used: this server builds with its own", File)
	}
	if len(f.IO.Buildpacks.Pre.Group)+len(f.IO.Buildpacks.Post.Group) > 0 {
		say("%s: io.buildpacks.pre and io.buildpacks.post are not used: [[io.buildpacks.group]] names all buildpacks of the build", File)
	}
	if v := cmp.Or(f.Schema.Version, f.Schema.Schema); v != "" && v != "0.1" && v != "0.2" {
		say("%s: the schema version %s is read as 0.2", File, app.Plain(v))
	}
	for _, k := range meta.Undecoded() {
		standard := len(k) > 2 && k[0] == "io" && k[1] == "buildpacks" || len(k) > 1 && k[0] == "build"
		if standard && len(d.Remarks) < maxBuildpacks {
			say("%s: the key %s is not known, and has no effect", File, app.Plain(k.String()))
		}
	}
}
