package node

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// member is one folder of a workspace that has a package.json.
type member struct {
	dir string // below the workspace's root
	pkg *Package
}

// asks tells what an app asks for: the folder where its packages are installed, which is the root of the workspace that it is a member of, else its
// own; the package manager; the version of Node.js. What the app itself does not say, the root may.
func asks(app string, p *Package) (root string, m manager, w wanted, err error) {
	root = workspaceRoot(app)
	top := p
	if root != app {
		if top, err = ReadPackage(root); err != nil {
			return root, m, w, err
		}
	}
	if m, err = chooseManager(root, top); err != nil {
		return root, m, w, err
	}
	if w, err = wantedVersion(app, p); err == nil && w.text == "" && root != app {
		w, err = wantedVersion(root, top)
	}
	return root, m, w, err
}

// workspaceRoot is the folder above the app whose workspace it is a member of; without one, the app's own folder.
func workspaceRoot(app string) string {
	for dir, n := filepath.Dir(app), 0; n < 20 && dir != filepath.Dir(dir); dir, n = filepath.Dir(dir), n+1 {
		if !kit.IsFile(dir, "package.json") {
			continue
		}
		p, err := ReadPackage(dir)
		if err != nil {
			continue // of something else
		}
		if rel, err := filepath.Rel(dir, app); err == nil && p.isMember(dir, rel) {
			return dir
		}
	}
	return app
}

// isMember tells whether a folder below the root is a member of the workspace.
func (p *Package) isMember(root, rel string) bool {
	return slices.Contains(p.members(root), rel)
}

// members lists the folders of a workspace's members, sorted.
func (p *Package) members(root string) (dirs []string) {
	globs := p.workspaceGlobs(root)
	if len(globs) == 0 {
		return nil
	}
	for _, dir := range packageFolders(root) {
		in := false
		for _, g := range globs {
			not := strings.HasPrefix(g, "!")
			if matchGlob(strings.TrimPrefix(g, "!"), dir) {
				in = !not
			}
		}
		if in && dir != "." {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// matchGlob matches a folder with a pattern of a workspace, in which ** stands for any number of folders.
func matchGlob(glob, dir string) bool {
	return matchParts(strings.Split(path.Clean(glob), "/"), strings.Split(dir, "/"))
}

func matchParts(globs, parts []string) bool {
	switch {
	case len(globs) == 0:
		return len(parts) == 0
	case globs[0] == "**":
		return matchParts(globs[1:], parts) || len(parts) > 0 && matchParts(globs, parts[1:])
	case len(parts) == 0:
		return false
	}
	ok, err := path.Match(globs[0], parts[0])
	return err == nil && ok && matchParts(globs[1:], parts[1:])
}

const (
	maxFolders = 500 // of a workspace
	maxDepth   = 8
)

// packageFolders lists the folders below the root that have a package.json, the root too, but for those of installed packages.
func packageFolders(root string) (dirs []string) {
	_ = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, file)
		switch {
		case err != nil || relErr != nil:
			return nil // what cannot be read is no member
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || strings.Count(rel, "/") >= maxDepth):
			return fs.SkipDir
		case d.Name() == "package.json" && d.Type().IsRegular() && len(dirs) < maxFolders:
			dirs = append(dirs, filepath.Dir(rel))
		}
		return nil
	})
	slices.Sort(dirs)
	return dirs
}

// openWorkspace reads the package.json of the workspace's root and members.
func (b *build) openWorkspace(root string) (err error) {
	b.root, b.rootPkg = root, b.pkg
	if root != b.app {
		if b.rootPkg, err = ReadPackage(root); err != nil {
			return err
		}
	}
	for _, dir := range b.rootPkg.members(root) {
		p, err := ReadPackage(filepath.Join(root, dir))
		if err != nil {
			continue // the package manager complains of it
		}
		b.members = append(b.members, member{dir, p})
	}
	b.members = dependenciesFirst(b.members)
	return nil
}

// folders are the root and the members.
func (b *build) folders() []member { return append([]member{{".", b.rootPkg}}, b.members...) }

// dependsOn tells whether the package names another one among its dependencies.
func (p *Package) dependsOn(name string) bool {
	return name != "" && (p.has(name) || p.Optional[name] != "" || p.Peer[name] != "")
}

// dependenciesFirst sorts the members so that each comes after those that it depends on. Where they depend on each other in a circle their order stays.
func dependenciesFirst(all []member) (sorted []member) {
	seen := map[string]bool{}
	var visit func(m member)
	visit = func(m member) {
		if seen[m.dir] {
			return
		}
		seen[m.dir] = true
		for _, o := range all {
			if m.pkg.dependsOn(o.pkg.Name) {
				visit(o)
			}
		}
		sorted = append(sorted, m)
	}
	for _, m := range all {
		visit(m)
	}
	return sorted
}

// dependenciesOf are the members that the app needs, those that others depend on first.
func (b *build) dependenciesOf(p *Package) (needed []member) {
	wanted := map[string]bool{}
	for i := len(b.members) - 1; i >= 0; i-- { // each before those that it depends on
		m := b.members[i]
		if p.dependsOn(m.pkg.Name) {
			wanted[m.dir] = true
		}
		if !wanted[m.dir] {
			continue
		}
		for _, o := range b.members[:i] {
			if m.pkg.dependsOn(o.pkg.Name) {
				wanted[o.dir] = true
			}
		}
	}
	for _, m := range b.members {
		if wanted[m.dir] && filepath.Join(b.root, m.dir) != b.app {
			needed = append(needed, m)
		}
	}
	return needed
}

// orchestrates finds a build script that builds what the app depends on by itself.
var orchestrates = pattern.New(`\b(?:turbo|nx|lerna|wireit|moon|rush)\b|--filter|--recursive|-r\b|--workspaces?\b|\bworkspaces? |tsc (?:-b|--build)`)

// buildMembers builds the app. Where it is a member of a workspace, what it depends on is built before it: by Turborepo or Nx where they are there.
func (b *build) buildMembers(env kit.Env) error {
	script := b.pkg.BuildScript()
	if b.root == b.app || orchestrates.MatchString(b.pkg.Scripts[script]) {
		return b.command(b.buildCommand(), env)
	}
	switch {
	case script != "" && b.rootPkg.has("turbo") && kit.IsFile(b.root, "turbo.json") && b.pkg.Name != "":
		return b.commandIn(b.root, b.tool.exec("turbo", "run", script, "--filter="+b.pkg.Name), env)
	case script != "" && b.rootPkg.has("nx") && kit.IsFile(b.root, "nx.json") && b.pkg.Name != "":
		return b.commandIn(b.root, b.tool.exec("nx", "run", b.pkg.Name+":"+script), env)
	}
	for _, m := range b.dependenciesOf(b.pkg) {
		if strings.TrimSpace(m.pkg.Scripts["build"]) == "" {
			continue
		}
		if err := b.commandIn(filepath.Join(b.root, m.dir), b.tool.run("build"), env); err != nil {
			return err
		}
	}
	return b.command(b.buildCommand(), env)
}

// developmentPackages tells whether there are packages for development, in the root or a member.
func (b *build) developmentPackages() bool {
	return slices.ContainsFunc(b.folders(), func(m member) bool { return len(m.pkg.DevDependencies) > 0 })
}

// memberRunsDevelopment names the development package that starts a member which the app's own start script leads to; "" for none.
func (b *build) memberRunsDevelopment() string {
	only, _ := b.pkg.memberStart(b.app)
	lines := strings.Join(b.pkg.lines(b.app), "\n")
	for _, m := range b.members {
		if m.dir != only && (m.pkg.Name == "" || !strings.Contains(lines, m.pkg.Name)) && !strings.Contains(lines, m.dir) && !orchestrates.MatchString(lines) {
			continue
		}
		if name := m.pkg.runsDevelopment(filepath.Join(b.root, m.dir)); name != "" {
			return name
		}
	}
	return ""
}

// unimportant are the fields of a package.json that decide nothing about what is installed.
var unimportant = []string{"scripts", "description", "main", "module", "browser", "types", "typings", "exports", "imports", "files", "keywords", "author", "contributors", "license", "repository", "homepage", "bugs", "funding", "sideEffects",
	"eslintConfig", "prettier", "jest", "browserslist", "babel", "lint-staged", "husky", "release", "nx", "stylelint", "ava", "mocha", "nyc", "c8", "private", "type"}

// localFolder finds dependencies whose content is copied when they are installed, or may be anywhere.
var localFolder = pattern.New(`"(?:file|link|portal|exec|git\+file):|": ?"\.{1,2}/|"injected": ?true`)

// workspaceKey digests what decides on the packages of a workspace; "" where that cannot be told, and for an app that is none.
func (b *build) workspaceKey() string {
	if len(b.members) == 0 {
		return ""
	}
	settings := kit.Text(b.root, ".npmrc") + kit.Text(b.root, "pnpm-workspace.yaml")
	if strings.Contains(settings, "inject-workspace-packages") || strings.Contains(settings, "injectWorkspacePackages") || strings.Contains(settings, "install-links") {
		return ""
	}
	parts := []string{"1", b.node.version, b.tool.spec(), b.root}
	for _, dir := range packageFolders(b.root) {
		var fields map[string]json.RawMessage
		if json.Unmarshal([]byte(kit.Text(b.root, dir, "package.json")), &fields) != nil {
			continue
		}
		maps.DeleteFunc(fields, func(k string, _ json.RawMessage) bool { return slices.Contains(unimportant, k) })
		text, err := json.Marshal(fields)
		if err != nil || localFolder.MatchString(string(text)) {
			return ""
		}
		parts = append(parts, dir, string(text))
		for _, f := range append([]string{".npmrc"}, readAtInstall(filepath.Join(b.root, dir))...) {
			parts = append(parts, f, fileText(b.root, dir, f))
		}
	}
	for _, f := range []string{b.tool.lock, "bunfig.toml", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", ".pnpmfile.mjs", "pnpm-workspace.yaml", "yarn.config.cjs"} {
		parts = append(parts, f, fileText(b.root, f))
	}
	return kit.Key(parts...)
}

// fileText is the content of a file; "" if it cannot be read.
func fileText(elem ...string) string {
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		return ""
	}
	return string(data)
}
