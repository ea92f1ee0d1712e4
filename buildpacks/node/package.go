package node

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Package is what package.json says, as far as a build needs it.
type Package struct {
	Name            string            `json:"name"`
	Main            string            `json:"main"`
	Module          string            `json:"module"`
	PackageManager  string            `json:"packageManager"`
	Engines         json.RawMessage   `json:"engines"`
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
	Optional        map[string]string `json:"optionalDependencies"`
	Peer            map[string]string `json:"peerDependencies"`
	Workspaces      json.RawMessage   `json:"workspaces"`
	Overrides       json.RawMessage   `json:"overrides"`
	Resolutions     json.RawMessage   `json:"resolutions"`
	PNPM            json.RawMessage   `json:"pnpm"`
	DevEngines      json.RawMessage   `json:"devEngines"`
	Trusted         json.RawMessage   `json:"trustedDependencies"`
	Patched         json.RawMessage   `json:"patchedDependencies"`
	Volta           volta             `json:"volta"`

	router string // the command that serves what Remix or React Router builds, where the app has none
	dev    string // the command that starts an app which has no script for it: developed
	tsc    bool   // the app starts what the compiler of TypeScript makes, and no script calls it
}

// volta is what the version manager of that name writes into package.json.
type volta struct{ Node, NPM, Yarn, PNPM, Extends string }

// version is the version that it has for a program; "" for none.
func (v volta) version(program string) string {
	return map[string]string{"node": v.Node, "npm": v.NPM, "yarn": v.Yarn, "pnpm": v.PNPM}[program]
}

// ReadPackage reads the app's package.json. The error wraps fs.ErrNotExist if it has none, and no program that runs without one; a malformed one is
// a *kit.Error.
func ReadPackage(app string) (*Package, error) {
	data, err := kit.ReadFile(app, "package.json")
	if errors.Is(err, fs.ErrNotExist) && programAlone(app) != "" {
		return &Package{}, nil
	}
	if err != nil {
		return nil, err
	}
	data = []byte(kit.Decode(data))
	p := &Package{}
	if err := json.Unmarshal(data, p); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			line := 1 + strings.Count(string(data[:min(int(syntax.Offset), len(data))]), "\n")
			return nil, kit.Errorf("correct it and push again", "package.json is not valid JSON, line %d: %v", line, err)
		case errors.As(err, &kind):
			return nil, kit.Errorf("correct it and push again", "package.json is malformed: %s must not be a JSON %s", kind.Field, kind.Value)
		}
		return nil, kit.Errorf("correct it and push again", "package.json cannot be read: %v", err)
	}
	if p.Volta.Extends != "" && filepath.IsLocal(p.Volta.Extends) && p.Volta.Node == "" {
		var other struct {
			Volta volta `json:"volta"`
		}
		// One that cannot be read says nothing.
		_ = json.Unmarshal([]byte(kit.Text(app, p.Volta.Extends)), &other)
		p.Volta = other.Volta
	}
	p.tsc = p.compiles(app)
	p.router = p.routed(app)
	p.dev = p.developed(app)
	return p, nil
}

// programAlone finds a program without a package.json, where nothing else makes the app one of pages or of another language.
func programAlone(app string) string {
	if kit.HasManifest(app) || kit.OtherLanguage(app).Name != "" || kit.IsFile(app, "main.py") || kit.IsFile(app, "app.py") {
		return ""
	}
	for _, f := range serverFiles {
		if kit.IsFile(app, f) {
			return f
		}
	}
	return ""
}

// Check returns an *kit.Error when the app has a package.json that cannot be read.
func Check(app string) error {
	if _, err := ReadPackage(app); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// engine is the range of versions that engines gives a program; "" for none.
func (p *Package) engine(program string) string {
	e := map[string]any{}
	// A malformed entry is npm's to complain about: it ignores old forms of engines.
	_ = json.Unmarshal(p.Engines, &e)
	v, _ := e[program].(string)
	return strings.TrimSpace(v)
}

// HasBuild tells whether the app is built: by a script, or by the framework that it has.
func (p *Package) HasBuild() bool { return p.BuildScript() != "" || p.impliedBuild() != "" }

// workspaceGlobs are the patterns of the folders that a workspace's members are in; those that begin with ! take folders out again.
func (p *Package) workspaceGlobs(app string) (globs []string) {
	if json.Unmarshal(p.Workspaces, &globs) != nil {
		var w struct{ Packages []string }
		_ = json.Unmarshal(p.Workspaces, &w) // the package manager complains of a malformed one
		globs = w.Packages
	}
	in := false
	for line := range strings.Lines(kit.Text(app, "pnpm-workspace.yaml")) {
		item, isItem := strings.CutPrefix(strings.TrimSpace(line), "- ")
		switch {
		case strings.HasPrefix(line, "packages:"):
			in = true
			for item := range strings.SplitSeq(strings.Trim(strings.TrimSpace(strings.TrimPrefix(line, "packages:")), "[]"), ",") {
				if item = strings.Trim(strings.TrimSpace(item), `"'`); item != "" {
					globs = append(globs, item)
				}
			}
		case in && isItem:
			item, _, _ = strings.Cut(item, " #")
			globs = append(globs, strings.Trim(strings.TrimSpace(item), `"'`))
		case in && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "#"):
			in = false
		}
	}
	return globs
}

func unmarshal(text string, v any) error { return json.Unmarshal([]byte(text), v) }

// serverFiles are what is started when nothing says what to start.
var serverFiles = []string{"server.js", "index.js", "app.js", "server.mjs", "index.mjs", "app.mjs", "server.cjs"}

// Kind says what becomes of an app with a package.json.
type Kind int

// The kinds.
const (
	Neither Kind = iota // nothing to start and nothing to build: only tools, or a mistake
	Server              // has a program to start
	Site                // has a build script and nothing to start: the build's output is a static site
)

// KindOf tells what kind of app it is.
func (p *Package) KindOf(app string) Kind {
	procs, _ := procfile.Read(app) // a malformed one fails the build elsewhere
	if slices.ContainsFunc(procs, func(pr procfile.Process) bool { return pr.Type == "web" && !kit.ForeignCommand(pr.Command) }) {
		return Server
	}
	if p.exports(app) && p.HasBuild() {
		return Site
	}
	if p.startScript() != "" {
		return Server
	}
	if _, s := p.memberStart(app); s != "" {
		return Server
	}
	if p.mainProgram() != "" && (kit.IsFile(app, p.Main) || p.HasBuild() && p.Main != "index.js") {
		return Server
	}
	if slices.ContainsFunc(serverFiles, func(f string) bool { return kit.IsFile(app, f) }) {
		return Server
	}
	if p.usesBun(app) && p.bunFile(app) != "" && !kit.IsFile(app, "index.html") {
		return Server
	}
	if file, _ := p.handlerFile(app); file != "" {
		return Server
	}
	if p.HasBuild() {
		return Site
	}
	return Neither
}

// mainProgram is main where that is a program of the app: for some packages it is a style sheet, or package.json, for apps of Expo a file of a
// dependency, which runs on phones.
func (p *Package) mainProgram() string {
	if first, _, inside := strings.Cut(p.Main, "/"); inside && (first == "node_modules" || p.has(first)) {
		return ""
	}
	if slices.Contains([]string{".json", ".css", ".scss", ".sass", ".less", ".html", ".svg", ".md"}, filepath.Ext(p.Main)) {
		return ""
	}
	return p.Main
}

// local tells whether packages come from folders of the app: workspaces, file: and link:.
func (p *Package) local(app string) bool {
	if len(p.Workspaces) > 0 && string(p.Workspaces) != "null" || pnpmMembers.MatchString(kit.Text(app, "pnpm-workspace.yaml")) {
		return true
	}
	for _, deps := range []map[string]string{p.Dependencies, p.DevDependencies, p.Optional} {
		for _, v := range deps {
			for _, prefix := range []string{"file:", "link:", "workspace:", "portal:", "./", "../"} {
				if strings.HasPrefix(v, prefix) {
					return true
				}
			}
		}
	}
	return false
}

// pnpmMembers finds members of a workspace: pnpm keeps its settings in the same file.
var pnpmMembers = pattern.New(`(?m)^packages:`)

// has tells whether one of the packages is a direct dependency.
func (p *Package) has(names ...string) bool {
	for _, n := range names {
		if p.Dependencies[n] != "" || p.DevDependencies[n] != "" {
			return true
		}
	}
	return false
}

// installKey digests what decides on the installed packages: not the version, the description or the other scripts.
func (p *Package) installKey(app string, m manager, nodeVersion string) string {
	q := *p
	q.Name, q.Main, q.Scripts = "", "", nil
	rest, _ := json.Marshal(q) // a struct of strings and raw JSON that was parsed: cannot fail
	parts := []string{"2", nodeVersion, m.spec(), string(rest)}
	for _, f := range append([]string{m.lock, ".npmrc", "bunfig.toml", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", "pnpm-workspace.yaml", "schema.prisma"}, readAtInstall(app)...) {
		data := ""
		if f != "" {
			if b, err := os.ReadFile(app + "/" + f); err == nil {
				data = string(b)
			}
		}
		parts = append(parts, f, data)
	}
	return kit.Key(parts...)
}

// readAtInstall lists the files beside the lock file that an installation reads: patches, plugins, the schema that Prisma makes a client of.
func readAtInstall(app string) (files []string) {
	for _, dir := range []string{"patches", ".yarn/patches", ".yarn/plugins", "prisma"} {
		_ = filepath.WalkDir(filepath.Join(app, dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // what cannot be read fails where it is used
			}
			if rel, err := filepath.Rel(app, file); err == nil && d.Type().IsRegular() && len(files) < 1000 {
				files = append(files, rel)
			}
			return nil
		})
	}
	return files
}
