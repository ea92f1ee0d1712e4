package python

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// debian are the Pythons of Debian's releases that may have one which the image has not. They run on a newer release: newer ones than the image's
// need its C library.
var debian = []struct{ version, suite string }{{"3.13", "trixie"}, {"3.11", "bookworm"}, {"3.9", "bullseye"}}

// The oldest and the newest Python that are asked for elsewhere.
var oldest, newest = []int{3, 8}, []int{3, 15}

// interpreter is a Python that is not the image's: it is fetched into the app's cache, and what runs is a layer.
type interpreter struct {
	version string
	from    string // for people
	suite   string // of Debian; "" for one of uv's
	dir     string // of the cache: all of it, with headers
	exe     string // below dir
	key     string // of the layer
	layer   *kit.Layer
}

// findPython finds a Python that the app's files allow: the image's own; one of those that uv installs, which are built to be moved; one of another
// release of Debian.
func (b *build) findPython(w wanted) error {
	base, err := b.baseVersion()
	if err != nil {
		return err
	}
	b.version, b.exe, b.wanted = base, b.Exe, w
	if !w.allows(base) {
		if err := b.otherPythonFor(w, base); err != nil {
			return err
		}
	}
	from := ""
	if b.other != nil {
		from = " (" + b.other.from + ")"
	}
	kit.Say(b.Out, "Python %s%s", b.version, from)
	return nil
}

// otherPythonFor has a Python other than the image's for the app. What the cache has counts before what would be fetched.
func (b *build) otherPythonFor(w wanted, base string) error {
	tools, err := b.cache.Dir("python-tools")
	if err != nil {
		return err
	}
	versions, err := b.uvVersions(tools)
	if err != nil {
		return err
	}
	versions = slices.DeleteFunc(versions, func(v string) bool { return !w.allows(v) })
	for _, v := range versions {
		if p := uvPython(tools, v); kit.IsFile(p.dir, p.exe) {
			return b.use(p)
		}
	}
	suites := slices.Clone(debian)
	suites = slices.DeleteFunc(suites, func(d struct{ version, suite string }) bool {
		return !w.allows(d.version+".99") || d.version == minor(base)
	})
	for _, d := range suites {
		if set, p := b.debianPython(tools, d.version, d.suite, false); set != nil && kit.IsFile(p.dir, p.exe) {
			return b.use(p)
		}
	}
	var failed error
	for _, v := range versions[:min(len(versions), 1)] {
		p := uvPython(tools, v)
		if failed = b.fetchPython(p); failed == nil {
			return b.use(p)
		}
	}
	for _, d := range suites {
		set, p := b.debianPython(tools, d.version, d.suite, true)
		if set == nil {
			continue
		}
		if err := b.fetchDebian(set, p); err != nil {
			kit.Say(b.Out, "Warning: Debian's Python %s cannot be installed: %s", d.version, kit.Line(err))
			continue
		}
		return b.use(p)
	}
	if b.allowedInstead(w, base, failed) {
		return nil
	}
	return refusal(w, base, failed)
}

// allowedInstead takes the image's Python where the one cannot be had that developers pin for themselves, and the app's range of versions allows it.
func (b *build) allowedInstead(w wanted, base string, failed error) bool {
	var e *kit.Error
	if !slices.Contains(pins, w.from) || !errors.As(failed, &e) {
		return false
	}
	p := b.source.project
	spec := p.Project.RequiresPython
	if v, ok := p.Tool.Poetry.Dependencies["python"].(string); ok && spec == "" {
		spec = v
	}
	ok, err := parseSpecifier(spec)
	if spec == "" || err != nil || !ok(base) {
		return false
	}
	kit.Say(b.Out, "Warning: %s asks for Python %s, and %s: going on with %s, which pyproject.toml allows (%s)", w.from, w.text, e.Message, minor(base), spec)
	return true
}

// refusal says which versions can be had, and why not the one that is asked for.
func refusal(w wanted, base string, failed error) error {
	there := []string{minor(base)}
	for _, d := range debian {
		if d.version != minor(base) && !older(base, must(numbers(d.version))...) {
			there = append(there, d.version)
		}
	}
	can := "ask for Python " + strings.Join(there[:len(there)-1], ", ") + " or " + there[len(there)-1]
	if len(there) == 1 {
		can = "ask for Python " + there[0]
	}
	var e *kit.Error
	if errors.As(failed, &e) {
		return kit.Errorf(can+", or have the operator name a mirror in UV_PYTHON_INSTALL_MIRROR", "%s asks for Python %s, and %s", w.from, w.text, e.Message)
	}
	if failed != nil {
		return failed
	}
	return kit.Errorf(can+", or another one from 3.8 on", "%s asks for Python %s, which no source of Pythons has", w.from, w.text)
}

func must(n []int, _ error) []int { return n } // of constants

// baseVersion asks the builder's Python for its version, and notes the answer: starting it takes as long as all the rest of a
// build in which nothing changed.
func (b *build) baseVersion() (string, error) {
	fi, err := os.Stat(b.Exe)
	if err != nil {
		return "", kit.Errorf("the builder image may be broken", "Python is missing from the builder: %v", err)
	}
	id := fmt.Sprintf("%s %d %d", b.Exe, fi.Size(), fi.ModTime().UnixNano())
	return b.noted("builder-version", id, func() (string, error) {
		out, err := kit.Cmd{Args: []string{b.Exe, "-c", "import platform; print(platform.python_version())"}, Env: b.env, Out: b.Out}.Output()
		return strings.TrimSpace(string(out)), err
	})
}

// noted returns what ask answered for the same id before.
func (b *build) noted(name, id string, ask func() (string, error)) (string, error) {
	tools, err := b.cache.Dir("python-tools")
	if err != nil {
		return "", err
	}
	note := filepath.Join(tools, name)
	if v, ok := strings.CutPrefix(kit.Text(note), id+" "); ok {
		return v, nil
	}
	v, err := ask()
	if err != nil {
		return "", err
	}
	return v, os.WriteFile(note, []byte(id+" "+v), 0o644)
}

var release = pattern.New(`^3\.[0-9]+\.[0-9]+$`)

// uvVersions lists the Pythons that uv can install, the newest of each minor version, the newest first.
func (b *build) uvVersions(tools string) ([]string, error) {
	fi, err := os.Stat(b.UV)
	if err != nil {
		return nil, kit.Errorf("the builder image may be broken", "uv is missing from the builder: %v", err)
	}
	id := fmt.Sprintf("%d %d %s", fi.Size(), fi.ModTime().UnixNano(), b.env["UV_PYTHON_DOWNLOADS_JSON_URL"])
	list, err := b.noted("uv-versions", id, func() (string, error) {
		env := b.env.Clone()
		env["UV_PYTHON_DOWNLOADS"] = "automatic"
		out, err := kit.Cmd{Args: []string{b.UV, "python", "list", "--only-downloads", "--output-format", "json"}, Env: env, Out: b.Out, Name: "uv python list"}.Output()
		if err != nil {
			return "", err
		}
		var all []struct{ Implementation, Variant, Version string }
		if err := json.Unmarshal(out, &all); err != nil {
			return "", err
		}
		var versions []string
		for _, p := range all {
			if p.Implementation == "cpython" && p.Variant == "default" && release.MatchString(p.Version) {
				versions = append(versions, p.Version)
			}
		}
		return strings.Join(versions, " "), nil
	})
	if err != nil {
		return nil, err
	}
	versions := slices.DeleteFunc(strings.Fields(list), func(v string) bool { return older(v, oldest...) || !older(v, newest[0], newest[1]+1) })
	slices.SortStableFunc(versions, func(x, y string) int { return kit.CompareVersions(must(numbers(y)), must(numbers(x))) })
	return versions, nil
}

// uvPython is a Python that uv installs.
func uvPython(tools, version string) *interpreter {
	return &interpreter{version: version, from: "python-build-standalone", dir: filepath.Join(tools, "cpython-"+version), exe: "bin/python" + minor(version), key: kit.Key(layout, "uv", version)}
}

// fetchPython has uv install a Python into the cache. The error says which host did not answer.
func (b *build) fetchPython(p *interpreter) error {
	part := p.dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	defer os.RemoveAll(part)
	env := b.env.Clone()
	env["UV_PYTHON_DOWNLOADS"] = "automatic"
	env["UV_HTTP_RETRIES"] = "2"
	env["UV_HTTP_CONNECT_TIMEOUT"] = "10"
	kit.Say(b.Out, "uv python install %s", p.version)
	said, err := kit.Cmd{Args: []string{b.UV, "python", "install", p.version, "--install-dir", part, "--no-bin"}, Env: env, Out: nothing{}, Name: "uv python install"}.Run()
	if err != nil {
		return pythonFailed(said, err)
	}
	found := glob(part, "cpython-*/"+p.exe)
	if len(found) == 0 {
		return kit.Errorf("", "uv python install left no %s", p.exe)
	}
	for _, f := range found { // one of them is a link to the folder
		if dir := filepath.Dir(filepath.Dir(f)); !isLink(dir) {
			return kit.Move(dir, p.dir)
		}
	}
	return kit.Errorf("", "uv python install left links alone")
}

func isLink(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode()&os.ModeSymlink != 0
}

// pythonFailed names the host that Pythons come from.
func pythonFailed(said string, err error) error {
	m := unreachable.FindStringSubmatch(said)
	if m == nil {
		if line := firstError.FindStringSubmatch(said); line != nil {
			return kit.Errorf("", "%s: %s", kit.Line(err), line[1])
		}
		return err
	}
	host := m[1]
	if u, err := url.Parse(m[1]); err == nil {
		host = u.Host
	}
	return kit.Errorf("", "it comes from %s, which %s", host, whyNot(said))
}

var firstError = pattern.New(`(?m)^\s*cause: (.+)$`)

// debianPython is the Python of another release of Debian; nil where its packages cannot be known. Without ask, only what an earlier build asked counts.
func (b *build) debianPython(tools, version, suite string, ask bool) (*debs.Set, *interpreter) {
	if !ask && len(glob(tools, "debian-"+version+"-*")) == 0 {
		return nil, nil
	}
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return nil, nil
	}
	packages := []string{"python" + version}
	if older(version, 3, 12) {
		// uv wants distutils, which Debian has apart, for the Python that the release calls its own.
		packages = append(packages, "python3-distutils", "python3-lib2to3", "python3", "python3-minimal", "libpython3-stdlib")
	}
	set, err := tool.Resolve(debs.Request{Packages: packages, Suite: suite, Launch: true})
	if err != nil {
		kit.Say(b.Out, "Warning: Debian's Python %s cannot be had: %s", version, kit.Line(err))
		return nil, nil
	}
	full := strings.SplitN(set.Version("python"+version), "+", 2)[0]
	return set, &interpreter{version: full, from: "Debian's, from " + suite, suite: suite, dir: filepath.Join(tools, "debian-"+version+"-"+set.Key()[:16]), exe: "usr/bin/python" + version, key: kit.Key(layout, "debian", set.Key())}
}

// fetchDebian installs a Python of Debian's where its layer will be, so that its files name that place, and keeps it in the cache.
func (b *build) fetchDebian(set *debs.Set, p *interpreter) error {
	l, err := kit.OpenLayer(b.ctx, "python")
	if err != nil {
		return err
	}
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(l.Path); err != nil {
		return err
	}
	if err := tool.Install(set, l.Path); err != nil {
		return err
	}
	return kit.Move(l.Path, p.dir)
}

// use puts a Python where its layer will be. For as long as the build lasts, that is a link into the cache.
func (b *build) use(p *interpreter) (err error) {
	if p.layer, err = kit.OpenLayer(b.ctx, "python"); err != nil {
		return err
	}
	if err := os.RemoveAll(p.layer.Path); err != nil {
		return err
	}
	if err := os.Symlink(p.dir, p.layer.Path); err != nil {
		return err
	}
	b.other, b.version, b.exe = p, p.version, filepath.Join(p.layer.Path, p.exe)
	if strings.HasPrefix(p.exe, "usr/") {
		v := debs.Environment(p.layer.Path)
		v.AddTo(b.env)
	}
	if done := filepath.Join(p.dir, ".compiled"); !kit.Exists(done) {
		b.compileFolders(filepath.Join(p.layer.Path, filepath.Dir(filepath.Dir(p.exe)), "lib", "python"+minor(p.version)))
		return os.WriteFile(done, nil, 0o644)
	}
	return nil
}

// pythonLayer makes the layer of a Python that is not the image's, of what runs; or leaves the last build's.
func (b *build) pythonLayer() (*kit.Layer, error) {
	p := b.other
	l := p.layer
	if err := os.RemoveAll(l.Path); err != nil { // the link
		return nil, err
	}
	reuse, err := l.Reuse(p.key)
	if err != nil {
		return nil, err
	}
	if !reuse {
		if err := l.Reset(libcnb.LayerTypes{Launch: true}, p.key); err != nil {
			return nil, err
		}
		if err := kit.CopyTree(p.dir, l.Path, forBuilds); err != nil {
			return nil, err
		}
	}
	if reuse {
		return l, nil // its environment stays in the image's metadata with it
	}
	if strings.HasPrefix(p.exe, "usr/") {
		debs.Environment(l.Path).SetLayer(l)
	}
	return l, nil
}

// builds are the parts of a Python that only builds, desktops and its own tests need.
var builds = pattern.New(`^(\.compiled|BUILD|(usr/)?(include|share)(/.*)?|lib/(pkgconfig|tcl[0-9.]*|tk[0-9.]*|itcl[0-9.]*|thread[0-9.]*|Tix[0-9.]*|libtcl.*|libtk.*|lib.*\.a)|` +
	`(usr/)?lib/python3\.[0-9]+/(test|idlelib|turtledemo|tkinter|ensurepip|lib2to3/tests|config-.*|site-packages/pip.*|site-packages/setuptools.*)|(usr/)?bin/(idle|pydoc|2to3|pip|easy_install|python3.*-config|pdb|pygettext).*)$`)

func forBuilds(rel string) bool { return builds.MatchString(rel) }
