package debs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// apt is apt with files of its own: it reads what the image has, and writes into the app's cache only.
type apt struct {
	t       *Tool
	r       Request
	dir     string // of this request's configuration
	sources string
}

// release is the image's release of Debian in its sources: the suite that the others, such as trixie-security, are named after.
func release(sources string) string {
	for line := range strings.Lines(sources) {
		if _, suite := sourceOf(line); suite != "" && !strings.Contains(suite, "-") {
			return suite
		}
	}
	return ""
}

// sourceOf returns the address and the suite of a line such as "deb [signed-by=…] http://… trixie main".
func sourceOf(line string) (uri, suite string) {
	f := strings.Fields(line)
	if len(f) == 0 || f[0] != "deb" {
		return "", ""
	}
	f = f[1:]
	if len(f) > 0 && strings.HasPrefix(f[0], "[") {
		end := slices.IndexFunc(f, func(w string) bool { return strings.HasSuffix(w, "]") })
		f = f[end+1:]
	}
	if len(f) < 2 {
		return "", ""
	}
	return f[0], f[1]
}

var suiteName = regexp.MustCompile(`^[a-z]{1,30}$`)

// sources returns the image's sources, with those of another suite from the same servers.
func (t *Tool) sources(suite string) (string, error) {
	data, err := os.ReadFile(t.sys.Sources)
	own := release(string(data))
	if err != nil || own == "" {
		return "", kit.Errorf("take gitd's own builder, or one that is made of Debian", "the builder image names no source of Debian packages in %s", t.sys.Sources)
	}
	if suite == "" || suite == own {
		return string(data), nil
	}
	if !suiteName.MatchString(suite) {
		return "", kit.Errorf("", "%q is not the name of a release of Debian", suite)
	}
	var b strings.Builder
	b.Write(data)
	rolling := slices.Contains([]string{"sid", "unstable", "experimental"}, suite)
	for line := range strings.Lines(string(data)) {
		_, s := sourceOf(line)
		if s == own || !rolling && strings.HasPrefix(s, own+"-") {
			b.WriteString(strings.Replace(line, " "+s+" ", " "+suite+strings.TrimPrefix(s, own)+" ", 1))
		}
	}
	return b.String(), nil
}

// prepare writes apt's configuration for a request.
func (t *Tool) prepare(r Request, sources string) (*apt, error) {
	a := &apt{t: t, r: r, dir: filepath.Join(t.dir, "apt"), sources: sources}
	for _, d := range []string{"apt/lists/partial", "apt/archives/partial", "apt/none"} {
		if err := os.MkdirAll(filepath.Join(t.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	own := release(sources)
	preferences := ""
	if r.Suite != "" && r.Suite != own {
		preferences = fmt.Sprintf("Package: *\nPin: release n=/^%s(-updates|-security)?$/\nPin-Priority: 990\n", own)
	}
	conf := map[string]string{
		"Dir::Etc::SourceList": a.path("sources.list"), "Dir::Etc::SourceParts": a.path("none"),
		"Dir::Etc::Preferences": a.path("preferences"), "Dir::Etc::PreferencesParts": a.path("none"),
		"Dir::State": a.dir, "Dir::State::Lists": a.path("lists"), "Dir::State::status": t.status(r), "Dir::State::extended_states": a.path("extended_states"),
		"Dir::Cache": a.dir, "Dir::Cache::Archives": a.path("archives"), "Dir::Cache::pkgcache": a.path("index"), "Dir::Cache::srcpkgcache": "",
		"Dir::Log": a.path("none"), "Debug::NoLocking": "true", "APT::Get::List-Cleanup": "false", "APT::Install-Recommends": "false",
		"Acquire::Languages": "none", "Acquire::PDiffs": "false", "Acquire::GzipIndexes": "true", "Acquire::Retries": "3",
		"Acquire::http::Timeout": "20", "Acquire::https::Timeout": "20",
	}
	if os.Geteuid() == 0 { // a test; else apt would become a user that cannot write here
		conf["APT::Sandbox::User"] = "root"
	}
	if ca := t.env["SSL_CERT_FILE"]; ca != "" {
		conf["Acquire::https::CaInfo"] = ca
	}
	text := "#clear APT::Update;\n" // hooks of the machine that a test runs on
	for k, v := range conf {
		text += fmt.Sprintf("%s %q;\n", k, v)
	}
	for name, content := range map[string]string{"apt.conf": text, "sources.list": sources, "preferences": preferences} {
		if err := os.WriteFile(a.path(name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *apt) path(name string) string { return filepath.Join(a.dir, name) }

// run runs one of apt's programs and returns what it said.
func (a *apt) run(program string, args ...string) (string, error) {
	env := a.t.env.Clone()
	env["LC_ALL"], env["DEBIAN_FRONTEND"] = "C", "noninteractive"
	env.Default("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	var out strings.Builder
	c := kit.Cmd{Args: append([]string{program, "-c", a.path("apt.conf")}, args...), Dir: a.path("archives"), Env: env, Out: &out}
	std, err := c.Output()
	return out.String() + string(std), err
}

// mark is the file whose time is that of the lists.
func (a *apt) mark() string { return a.path("lists-" + kit.Key(a.sources)[:16]) }

// update fetches the lists of what the mirror has, unless they are new enough.
func (a *apt) update(force bool) error {
	mark := a.mark()
	if !force && a.t.fresh(mark) {
		return nil
	}
	kit.Say(a.t.out, "Asking the Debian mirror what it has")
	out, err := a.run("apt-get", "-qq", "--error-on=any", "update")
	if err != nil {
		return a.words(out, err)
	}
	return os.WriteFile(mark, nil, 0o644)
}

var instLine = regexp.MustCompile(`(?m)^Inst (\S+?)(?::\S+)?(?: \[([^\]]+)\])? \((\S+) .*\[([a-z0-9-]+)\]\)`)

// simulate asks apt what it would install.
func (a *apt) simulate() ([]Package, error) {
	out, err := a.run("apt-get", append([]string{"-qq", "-y", "--simulate", "--allow-downgrades", "--no-remove", "install", "--"}, a.names()...)...)
	if err != nil && strings.Contains(out, "but remove is disabled") { // it is nothing of ours to remove: the folder stands before the image's own
		out, err = a.run("apt-get", append([]string{"-qq", "-y", "--simulate", "--allow-downgrades", "install", "--"}, a.names()...)...)
	}
	if err != nil {
		return nil, a.words(out, err)
	}
	var packages []Package
	for _, m := range instLine.FindAllStringSubmatch(out, -1) {
		p := Package{Name: m[1], Version: m[3], Arch: m[4]}
		if old := m[2]; old != "" && isLibc(p.Name) {
			// The image's own loader goes with the image's own C library.
			if !slices.Contains(a.r.Packages, p.Name) && upstream(old) != upstream(p.Version) {
				return nil, kit.Errorf("choose a release of Debian that is as old as the image's, or older", "the packages need the C library %s, the image has %s", upstream(p.Version), upstream(old))
			}
			continue
		}
		if a.r.Alone && !slices.Contains(a.r.Packages, p.Name) {
			continue
		}
		packages = append(packages, p)
	}
	if len(packages) > maxPackages {
		return nil, kit.Errorf("ask for fewer", "%d packages would be installed, at most %d are", len(packages), maxPackages)
	}
	return packages, nil
}

func isLibc(name string) bool {
	return name == "libc6" || name == "libc-bin" || name == "libc-l10n" || name == "locales"
}

// names are the request's packages as apt takes them.
func (a *apt) names() (names []string) {
	for _, n := range a.r.Packages {
		if a.r.Suite != "" && a.r.Suite != release(a.sources) && !slices.Contains(a.r.Own, n) {
			n += "/" + a.r.Suite
		}
		names = append(names, n)
	}
	return names
}

// fetch downloads the packages, as far as they are not there, checks them, and returns their files.
func (a *apt) fetch(packages []Package) ([]string, error) {
	var args, files []string
	for _, p := range packages {
		args = append(args, p.Name+"="+p.Version)
		files = append(files, filepath.Join(a.path("archives"), p.file()+".deb"))
	}
	if slices.ContainsFunc(files, func(f string) bool { return !kit.IsFile(f) }) {
		kit.Say(a.t.out, "Fetching %s", plural(len(packages), "Debian package"))
	}
	out, err := a.run("apt-get", append([]string{"-qq", "download", "--"}, args...)...)
	if err != nil {
		return nil, a.words(out, err)
	}
	now := a.t.now()
	for _, f := range files {
		if err := os.Chtimes(f, now, now); err != nil { // trim takes the oldest
			return nil, fmt.Errorf("apt did not leave a package: %w", err)
		}
	}
	return files, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Release returns the release of Debian that the image is made of, such as "trixie".
func (t *Tool) Release() (string, error) {
	data, err := os.ReadFile(t.sys.Sources)
	own := release(string(data))
	if err != nil || own == "" {
		return "", kit.Errorf("take gitd's own builder, or one that is made of Debian", "the builder image names no source of Debian packages in %s", t.sys.Sources)
	}
	return own, nil
}
