package python

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// mostAttempts bounds how often an installation is tried.
const mostAttempts = 5

// fill installs into the layer. Where packages are not for the Python at hand and the app's files allow another one, that one is taken: pinned packages
// are often older than the Python that the image has. The error is that of the first Python.
func (b *build) fill(key string, types libcnb.LayerTypes) error {
	own, tried, changed := key, []string{minor(b.version)}, false
	defer b.forgetLeftOut()
	err := b.fillOnce(key, types)
	failed := err
	for range mostAttempts {
		if failed == nil {
			break
		}
		if !b.addHeaders() && !b.leaveOut() {
			ok, why := b.changePython(&tried)
			if !ok {
				return err
			}
			kit.Say(b.Out, "%s: going on with Python %s (%s)", why, b.version, b.other.from)
			key, changed = kit.Key(own, b.version), true // the app's folders may hold what the attempt before left
			if own == "" {
				key = ""
			}
		}
		failed = b.fillOnce(key, types)
	}
	if failed != nil {
		return err
	}
	if changed && own != "" {
		return b.noteOther(own)
	}
	return nil
}

// fillOnce empties the layer and installs into it.
func (b *build) fillOnce(key string, types libcnb.LayerTypes) error {
	b.said = ""
	if err := b.venv.Reset(types, key); err != nil {
		return err
	}
	for _, step := range []func() error{b.install, b.installOwn, b.addSetuptools} {
		if err := step(); err != nil {
			return err
		}
	}
	if b.site != nil {
		return b.installSite()
	}
	return nil
}

// addHeaders brings the headers of a Python of Debian's, where an installation failed for want of them: most never compile anything.
func (b *build) addHeaders() bool {
	if b.other == nil || b.other.suite == "" || !strings.Contains(b.said, "Python.h") {
		return false
	}
	to := filepath.Join(b.other.dir, "usr", "include")
	if kit.Exists(to) {
		return false
	}
	err := b.fetchHeaders(to)
	if err != nil {
		kit.Say(b.Out, "Warning: the headers of Python %s cannot be had: %s", b.version, kit.Line(err))
		return false
	}
	b.headersEnv()
	return true
}

func (b *build) fetchHeaders(to string) error {
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return err
	}
	v := minor(b.version)
	set, err := tool.Resolve(debs.Request{Packages: []string{"libpython" + v + "-dev", "python" + v + "-dev"}, Suite: b.other.suite})
	if err != nil {
		return err
	}
	part := b.other.dir + ".headers"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	defer os.RemoveAll(part)
	if err := tool.Install(set, part); err != nil {
		return err
	}
	return kit.Move(filepath.Join(part, "usr", "include"), to)
}

// headersEnv has compilers find the headers: Debian has those of one processor in a folder beside the others.
func (b *build) headersEnv() {
	if dir := filepath.Join(b.other.layer.Path, "usr", "include"); kit.IsDir(dir) {
		b.env["CPATH"] = strings.Trim(dir+":"+b.env["CPATH"], ":")
	}
}

// changePython takes another Python that the packages which failed are for, and says why.
func (b *build) changePython(tried *[]string) (bool, string) {
	fits, why := b.fitting()
	if fits == nil {
		return false, ""
	}
	now := *b
	w := b.wanted
	w.ok = func(v string) bool {
		return b.wanted.allows(v) && !slices.Contains(*tried, minor(v)) && fits(v)
	}
	if err := b.otherPythonFor(w, b.version); err != nil {
		b.version, b.exe, b.other = now.version, now.exe, now.other
		return false, ""
	}
	*tried = append(*tried, minor(b.version))
	return true, why
}

// fitting tells which Pythons the package is for that could not be installed, and why; nil where another Python would not help.
func (b *build) fitting() (func(version string) bool, string) {
	if b.wanted.ok == nil {
		return nil, ""
	}
	if m := needsPython.FindStringSubmatch(b.said); m != nil {
		if ok, err := parseSpecifier(m[1]); err == nil {
			return ok, m[2] + " is for Python " + m[1]
		}
	}
	pkg, built := "", false
	if m := noABI.FindStringSubmatch(b.said); m != nil {
		pkg = m[1]
	} else if m := failedBuild.FindStringSubmatch(b.said); m != nil {
		pkg, built = m[1], true
	}
	if pkg == "" || strings.Contains(pkg, "://") {
		return nil, ""
	}
	if m := requiresPython.FindStringSubmatch(b.said); m != nil && built {
		if ok, err := parseSpecifier(m[1]); err == nil {
			return ok, pkg + " is for Python " + m[1]
		}
	}
	why := pkg + " has no wheel for Python " + minor(b.version)
	wheels := map[string]bool{}
	any := false
	for _, v := range minors() {
		if older(v, must(numbers(minor(b.version)))...) && b.wanted.allows(v+".99") {
			wheels[v] = b.hasWheel(pkg, v)
			any = any || wheels[v]
		}
	}
	if any {
		return func(v string) bool { return wheels[minor(v)] }, why
	}
	if _, lacks := kit.FindLack(b.said); lacks || !built {
		return nil, ""
	}
	current := must(numbers(minor(b.version)))
	return func(v string) bool { return older(v, current...) }, why + ", and cannot be compiled for it"
}

// minors are the minor versions that are asked for anywhere, the newest first.
func minors() (all []string) {
	for n := newest[1]; n >= oldest[1]; n-- {
		all = append(all, "3."+strconv.Itoa(n))
	}
	return all
}

// hasWheel asks the registry whether a package has a wheel for a Python.
func (b *build) hasWheel(pkg, version string) bool {
	file, err := temporary("wheel-*.txt", pkg+"\n")
	if err != nil {
		return false
	}
	defer os.Remove(file)
	env := b.env.Clone()
	env["UV_PYTHON"] = b.Exe
	_, err = kit.Cmd{Args: []string{b.UV, "pip", "compile", "--quiet", "--no-deps", "--no-build", "--no-header", "--python-version", version, file}, Dir: os.TempDir(), Env: env, Out: nothing{}}.Run()
	return err == nil
}

// otherNote is where the cache says which Python an installation was done with instead: its key, and the version.
const otherNote = "python-instead"

func (b *build) noteOther(key string) error {
	tools, err := b.cache.Dir("python-tools")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(tools, otherNote), []byte(key+" "+minor(b.version)), 0o644)
}

// takeNoted takes the Python that the same installation was done with before, and returns the key that goes with it.
func (b *build) takeNoted(key string) (string, error) {
	tools, err := b.cache.Dir("python-tools")
	if err != nil {
		return "", err
	}
	version, ok := strings.CutPrefix(kit.Text(tools, otherNote), key+" ")
	if key == "" || !ok {
		return key, nil
	}
	w, now := b.wanted, *b
	w.ok = func(v string) bool { return b.wanted.allows(v) && minor(v) == version }
	if err := b.otherPythonFor(w, b.version); err != nil {
		b.version, b.exe, b.other = now.version, now.exe, now.other
		return key, nil // the installation finds another one, or says why not
	}
	kit.Say(b.Out, "Python %s (%s), which the app's packages are for", b.version, b.other.from)
	return kit.Key(key, b.version), nil
}
