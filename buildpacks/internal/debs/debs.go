// Package debs installs Debian packages into a folder, as an ordinary user inside a build: the packages that are asked for, and what they need and the
// image lacks. apt resolves, fetches and checks them, from the sources of the image and with its keyring; the trees are put together here, and what
// names a place in the file system is turned to the folder.
//
//	tool, err := debs.Open(cache, env, out)
//	set, reused, err := tool.Layer(layer, libcnb.LayerTypes{Build: true, Cache: true}, debs.Request{Packages: []string{"ruby"}})
//	debs.Environment(layer.Path).AddTo(env)
package debs

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// MaxAge is how old an answer of the mirror may be: for so long, a build whose request is the same asks nothing. After that, the packages come in the
// version that the mirror has then.
const MaxAge = 3 * 24 * time.Hour

// answers is the folder of what requests came to.
const answers = "answers"

// archives is the folder of downloaded packages.
const archives = "apt/archives"

// maxPackages bounds what one request installs.
const maxPackages = 1000

// Paths are the files of the image that say what it has and where packages come from.
type Paths struct {
	Sources   string // in apt's one-line form
	Status    string // dpkg's, of the image that builds run in
	RunStatus string // of the image that apps run in; Status where it is missing
}

// System is the image. A test sets it.
var System = Paths{Sources: "/etc/apt/sources.list", Status: "/var/lib/dpkg/status", RunStatus: catalog.RunStatus}

// Request is what to install.
type Request struct {
	Packages []string // their names
	Suite    string   // the release of Debian, such as "sid": "" for the image's own, which may be named as well. What the packages need comes from the image's where it can.
	Launch   bool     // what they need is compared with the image that apps run in, which has less than the one that builds run in
	Alone    bool     // without what they need
	Own      []string // those of Packages that come from the image's own release all the same: libraries, which must fit the image's
	RunOnly  bool     // packages whose names end in -dev, headers and static libraries are left out
}

// Package is a package of a set.
type Package struct{ Name, Version, Arch string }

// file is how apt names the package's file, without its ending.
func (p Package) file() string {
	return p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_" + p.Arch
}

// Set is what a request comes to.
type Set struct {
	Packages []Package // in apt's order
	request  Request
}

// Tool resolves requests and installs them.
type Tool struct {
	env    kit.Env
	out    io.Writer
	dir    string
	shared shared
	sys    Paths
	now    func() time.Time
}

// Open returns the tool, with what the app's cache has. out takes what is being done.
func Open(cache *kit.Cache, env kit.Env, out io.Writer) (*Tool, error) {
	dir, err := cache.Dir("debs")
	if err != nil {
		return nil, err
	}
	return &Tool{env: env, out: out, dir: dir, shared: shared(env["BP_SHARED_MOUNT"]), sys: System, now: time.Now}, nil
}

// Key names the content of the set: two that are equal make equal folders.
func (s *Set) Key() string {
	parts := []string{treeVersion, strconv.FormatBool(s.request.RunOnly)}
	for _, p := range s.Packages {
		parts = append(parts, p.Name, p.Version, p.Arch)
	}
	return kit.Key(parts...)
}

// Version returns the upstream version of a package of the set: "1.2.3" of "1:1.2.3-4"; "" where the set lacks it.
func (s *Set) Version(name string) string {
	for _, p := range s.Packages {
		if p.Name == name {
			return upstream(p.Version)
		}
	}
	return ""
}

// SBOM returns the packages for the bill of materials.
func (s *Set) SBOM() (list []kit.Package) {
	for _, p := range s.Packages {
		list = append(list, kit.Package{Name: p.Name, Version: p.Version, PURL: "pkg:deb/debian/" + p.Name})
	}
	return list
}

// upstream takes the epoch and Debian's revision off a version.
func upstream(version string) string {
	if _, after, ok := strings.Cut(version, ":"); ok {
		version = after
	}
	if i := strings.LastIndexByte(version, '-'); i > 0 {
		version = version[:i]
	}
	return version
}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$`)

// ValidName tells whether a text can be the name of a Debian package. A hyphen at the end would make apt remove one.
func ValidName(name string) bool { return len(name) <= 100 && packageName.MatchString(name) }

// Layer fills a layer with what the request comes to, unless it holds that already, and sets its environment, for the build and for the app as the types
// say. more is what else the layer is made from: the caller adds that itself where the layer was not reused. A layer of Build should be of Cache as
// well, else it is filled by each build.
func (t *Tool) Layer(l *kit.Layer, types libcnb.LayerTypes, r Request, more ...string) (set *Set, reused bool, err error) {
	if set, err = t.Resolve(r); err != nil {
		return nil, false, err
	}
	key := func() string { return kit.Key(append([]string{set.Key()}, more...)...) }
	if reused, err = l.Keep(types, key()); err != nil {
		return nil, false, err
	}
	if !reused {
		if err := l.Reset(types, ""); err != nil {
			return nil, false, err
		}
		if err := t.Install(set, l.Path); err != nil {
			return nil, false, err
		}
		l.SetKey(key()) // Install may have found newer packages
	}
	if kit.IsDir(l.Path) {
		Environment(l.Path).SetLayer(l)
	}
	return set, reused, nil
}

// Resolve finds out what a request comes to. It asks the mirror at most once in MaxAge; where the mirror cannot be reached, an older answer will do.
func (t *Tool) Resolve(r Request) (*Set, error) {
	q, err := t.question(r)
	if err != nil || len(q.Packages) == 0 {
		return &Set{request: q.Request}, err
	}
	if err := t.note(q.text); err != nil {
		return nil, err
	}
	answer := filepath.Join(t.dir, answers, q.name)
	old := readAnswer(answer)
	if old != nil && t.fresh(answer) {
		return &Set{Packages: old, request: q.Request}, nil
	}
	if packages := t.shared.answer(q.name, t.fresh); packages != nil {
		return &Set{Packages: packages, request: q.Request}, nil
	}
	a, err := t.prepare(q.Request, q.sources)
	if err == nil {
		err = a.update(false)
	}
	if err != nil {
		if old != nil {
			kit.Say(t.out, "%s; going on with the packages of an earlier build", kit.Line(err))
			return &Set{Packages: old, request: q.Request}, nil
		}
		return nil, err
	}
	packages, err := a.simulate()
	if err != nil {
		return nil, err
	}
	return &Set{Packages: packages, request: q.Request}, t.writeAnswer(answer, packages)
}

// question is a request with all that its answer depends on.
type question struct {
	Request
	text    []byte // the request
	name    string // of the file of its answer
	sources string
}

// question checks a request, and puts it in order.
func (t *Tool) question(r Request) (q question, err error) {
	r.Packages = slices.Compact(slices.Sorted(slices.Values(r.Packages)))
	for _, name := range r.Packages {
		if !ValidName(name) {
			return q, kit.Errorf("names are lower-case letters, digits, +, - and .", "%q is not the name of a Debian package", name)
		}
	}
	r.Own = slices.Compact(slices.Sorted(slices.Values(r.Own)))
	if own, err := t.Release(); err == nil && r.Suite == own {
		r.Suite = "" // what comes to the same is the same request
	}
	if r.Suite == "" {
		r.Own = nil
	}
	q.Request = r
	if len(r.Packages) == 0 {
		return q, nil
	}
	status, err := kit.FileKey(t.status(r))
	if err != nil {
		return q, kit.Errorf("take gitd's own builder, or one that is made of Debian", "the builder image is not Debian: it has no %s", t.status(r))
	}
	if q.sources, err = t.sources(r.Suite); err != nil {
		return q, err
	}
	if q.text, err = json.Marshal(r); err != nil {
		return q, err
	}
	q.name = kit.Key(string(q.text), q.sources, status) + ".json"
	return q, nil
}

// status returns the list of what the image has that the request is compared with.
func (t *Tool) status(r Request) string {
	if r.Launch && kit.IsFile(t.sys.RunStatus) {
		return t.sys.RunStatus
	}
	return t.sys.Status
}

func (t *Tool) fresh(file string) bool { return t.younger(file, MaxAge) }

func (t *Tool) younger(file string, limit time.Duration) bool {
	info, err := os.Stat(file)
	if err != nil {
		return false
	}
	age := t.now().Sub(info.ModTime())
	return age < limit && age > -time.Hour
}

func readAnswer(file string) (packages []Package) {
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &packages) != nil {
		return nil
	}
	for _, p := range packages {
		if !ValidName(p.Name) {
			return nil
		}
	}
	return packages
}

// writeAnswer keeps an answer, and takes away those that no build has asked for in a long time.
func (t *Tool) writeAnswer(file string, packages []Package) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && t.now().Sub(info.ModTime()) > 10*MaxAge {
			_ = os.Remove(filepath.Join(dir, e.Name())) // tried again by the next build
		}
	}
	data, err := json.Marshal(packages)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// maxArchives bounds what is kept of downloaded packages.
const maxArchives = 512 << 20

// trim takes the oldest files out of a folder until the rest fits.
func trim(dir string, limit int64) error {
	type file struct {
		path string
		info fs.FileInfo
	}
	var files []file
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, file{filepath.Join(dir, e.Name()), info})
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, f := range files {
		if total <= limit {
			break
		}
		if err := os.Remove(f.path); err != nil {
			return err
		}
		total -= f.info.Size()
	}
	return nil
}
