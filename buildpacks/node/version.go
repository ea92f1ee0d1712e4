package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// wanted is the range of Node.js versions that the app asks for, and where it does.
type wanted struct {
	text   string // as written
	expr   string // as npm understands it
	from   string // the file
	limits *semver.Constraints
}

// codenames are the lines of long-term support, as .nvmrc may name them.
var codenames = map[string]string{"argon": "4", "boron": "6", "carbon": "8", "dubnium": "10", "erbium": "12", "fermium": "14", "gallium": "16", "hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}

// wantedVersion reads the range from engines in package.json, or where tools write it. Nothing said is any version.
func wantedVersion(app string, p *Package) (wanted, error) {
	w := wanted{text: p.engine("node"), from: "engines in package.json"}
	for _, f := range []struct {
		name  string
		texts []string
	}{
		{".nvmrc", kit.VersionLines(app, ".nvmrc")}, {".node-version", kit.VersionLines(app, ".node-version")}, {"volta in package.json", []string{p.Volta.Node}}, {"devEngines in package.json", []string{p.devEngine("runtime", "node").Version}},
		{".tool-versions", kit.AsdfVersions(app, ".tool-versions", "nodejs", "node")},
		{"mise.toml", kit.MiseVersions(app, "mise.toml", "node", "nodejs")}, {".mise.toml", kit.MiseVersions(app, ".mise.toml", "node", "nodejs")},
	} {
		if w.text == "" && len(f.texts) > 0 && f.texts[0] != "" {
			w = wanted{text: f.texts[0], from: f.name}
		}
	}
	expr := strings.ToLower(strings.Trim(strings.TrimSpace(w.text), `"'`))
	if name, ok := strings.CutPrefix(strings.TrimPrefix(expr, "lts-"), "lts/"); ok || codenames[strings.TrimPrefix(expr, "lts-")] != "" {
		expr = codenames[name]
		if expr == "" && name != "*" {
			return w, kit.Errorf("write a version such as 22", "%s asks for Node.js %q, which is not known", w.from, w.text)
		}
	}
	switch expr {
	case "", "*", "x", "node", "latest", "current", "stable", "lts", "system":
		w.text = ""
		expr = "*"
	}
	// npm takes "v20", "node-v20" and ">= 18" as well.
	expr = strings.ReplaceAll(strings.TrimPrefix(expr, "node-"), "v", "")
	w.expr = expr
	c, err := semver.NewConstraint(expr)
	if err != nil {
		return w, kit.Errorf("write a range such as 22.x", "%s asks for Node.js %q, which is not a range of versions", w.from, w.text)
	}
	w.limits = c
	return w, nil
}

// describe is for people.
func (w wanted) describe() string {
	if w.text == "" {
		return "any node"
	}
	return "node " + w.text
}

func (w wanted) allows(version string) bool {
	v, err := semver.NewVersion(version)
	return err == nil && w.limits.Check(v)
}

// nodeJS is a Node.js to build with and to put into the image.
type nodeJS struct {
	version string // "22.11.0"
	exe     string
}

// findNode returns the builder's Node.js when it is what the app asks for, else one from the package registry, which is kept
// in the cache.
func (b *build) findNode(w wanted) (nodeJS, error) {
	exe := filepath.Join(b.Root, "bin", "node")
	version, err := b.bakedVersion(exe)
	if err != nil {
		return nodeJS{}, err
	}
	if w.allows(version) {
		return nodeJS{version, exe}, nil
	}
	dir, err := b.cache.Dir("node-versions")
	if err != nil {
		return nodeJS{}, err
	}
	if n, ok := newest(dir, w); ok {
		return n, nil
	}
	pkg := "node-linux-" + map[string]string{"amd64": "x64", "arm64": "arm64", "386": "x86", "arm": "armv7l", "ppc64le": "ppc64le", "s390x": "s390x"}[runtime.GOARCH]
	kit.Say(b.Out, "Fetching Node.js %s (%s); the builder has %s", w.text, w.from, version)
	tmp, err := os.MkdirTemp(dir, ".fetch-")
	if err != nil {
		return nodeJS{}, err
	}
	defer os.RemoveAll(tmp)
	if err := b.npmInstall(tmp, pkg+"@"+w.expr); err != nil {
		return nodeJS{}, b.cannotHave(pkg, "Node.js", w.text, w.from)
	}
	got := filepath.Join(tmp, "node_modules", pkg, "bin", "node")
	out, err := kit.Cmd{Args: []string{got, "--version"}, Env: b.env, Out: b.Out}.Output()
	if err != nil {
		return nodeJS{}, err
	}
	version = strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	if !w.allows(version) {
		return nodeJS{}, kit.Errorf("ask for another version", "the package registry gave Node.js %s for %s", version, w.text)
	}
	n := nodeJS{version, filepath.Join(dir, version, "bin", "node")}
	if err := os.RemoveAll(filepath.Join(dir, version)); err != nil {
		return nodeJS{}, err
	}
	// The headers are for packages that are compiled. The program comes last: what it is there for is there then.
	if headers := filepath.Join(tmp, "node_modules", pkg, "include"); kit.IsDir(headers) {
		if err := kit.Move(headers, filepath.Join(dir, version, "include")); err != nil {
			return nodeJS{}, err
		}
	}
	return n, kit.Move(got, n.exe)
}

// certificates hands the host's certificate authorities to the npm of a Node.js that is too old to take them from NODE_EXTRA_CA_CERTS (before 7.3).
func (n nodeJS) certificates(env kit.Env) {
	if major, _, _ := strings.Cut(n.version, "."); len(major) == 1 && major < "8" && env["SSL_CERT_FILE"] != "" {
		env.Default("npm_config_cafile", env["SSL_CERT_FILE"])
	}
}

// headers puts the headers of the app's Node.js where node-gyp looks for those that it has downloaded: it downloads none then. A setting would do
// the same, but npm 11 warns of it with each command.
func (n nodeJS) headers(env kit.Env) {
	include := filepath.Join(filepath.Dir(filepath.Dir(n.exe)), "include")
	if !kit.IsFile(include, "node", "node.h") {
		return
	}
	cache := env["XDG_CACHE_HOME"]
	if cache == "" {
		cache = filepath.Join(env["HOME"], ".cache")
	}
	dir := filepath.Join(cache, "node-gyp", n.version)
	if mkdir(dir) == nil && (kit.Exists(dir, "include") || os.Symlink(include, filepath.Join(dir, "include")) == nil) &&
		os.WriteFile(filepath.Join(dir, "installVersion"), []byte("99\n"), 0o644) == nil { // of the layout: at least what any node-gyp asks for
		return
	}
	env.Default("npm_config_nodedir", filepath.Dir(include))
}

// newest finds the newest fetched version that is allowed.
func newest(dir string, w wanted) (nodeJS, bool) {
	entries, _ := os.ReadDir(dir)
	var best *semver.Version
	for _, e := range entries {
		v, err := semver.StrictNewVersion(e.Name())
		if err != nil || !w.limits.Check(v) || !kit.IsFile(dir, e.Name(), "bin", "node") {
			continue
		}
		if best == nil || v.GreaterThan(best) {
			best = v
		}
	}
	if best == nil {
		return nodeJS{}, false
	}
	return nodeJS{best.String(), filepath.Join(dir, best.String(), "bin", "node")}, true
}

// bakedVersion asks the builder's Node.js for its version, and notes the answer: starting it takes as long as all the rest
// of a build in which nothing changed.
func (b *build) bakedVersion(exe string) (string, error) {
	fi, err := os.Stat(exe)
	if err != nil {
		return "", kit.Errorf("the builder image may be broken", "Node.js is missing from the builder: %v", err)
	}
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return "", err
	}
	note, id := filepath.Join(tools, "builder-version"), fmt.Sprintf("%s %d %d", exe, fi.Size(), fi.ModTime().UnixNano())
	if v, ok := strings.CutPrefix(kit.Text(note), id+" "); ok {
		return v, nil
	}
	out, err := kit.Cmd{Args: []string{exe, "--version"}, Env: b.env, Out: b.Out}.Output()
	if err != nil {
		return "", err
	}
	v := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	return v, os.WriteFile(note, []byte(id+" "+v), 0o644)
}
