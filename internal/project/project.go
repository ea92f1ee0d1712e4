// Package project reads project.toml: the project descriptor of Cloud Native Buildpacks (schema 0.2, and the build table of 0.1), with gitd's own
// settings under [io.gitd].
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/bound"
	"github.com/gitd-io/gitd/internal/event"
	patterns "github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/webhook"
	"k8s.io/apimachinery/pkg/api/resource"
)

// File is the descriptor's name at the root of the source.
const File = "project.toml"

// maxText bounds a descriptor, far above what any needs: its text is not trusted, and the server parses it.
var maxText = bound.TOMLLimits{Size: 16 << 10, Depth: 32, Path: 1024}

// Descriptor is the content of project.toml with defaults filled in.
type Descriptor struct {
	BuildEnv map[string]string // only for the build
	Files    Files             // what the build sees of the source
	Web      Web
	Rollout  Rollout
	Release  Release
	Previews Previews

	AppDir     string      // folder of the app in the repository, clean; "" for its root
	Buildpacks []Buildpack // that build the app; none: what detection finds
	Remarks    []string    // for the push: what has no effect
	Config     []Declared  // what the app needs of its configuration, by name

	Schedules []schedule.Schedule // jobs that are started by the clock
	Triggers  []event.Trigger     // events that the app gets
	Webhooks  []webhook.Webhook   // requests of services, which become events

	Processes map[string]Process // other process types of which it says something, by type
	Scripts   Scripts            // of app.json

	moved []string // Remarks on app.json
}

// Web is how the web process runs.
type Web struct {
	Port          int               // $PORT
	PortSet       bool              // the file says which
	Protocol      string            // "http1", "h2c" (HTTP/2 without TLS), or "" to detect it
	HealthPath    string            // requested by GET before traffic shifts
	HealthTimeout time.Duration     // how long it may answer 5xx or not at all before the release fails
	StartTimeout  time.Duration     // how long it may take to listen
	Timeout       time.Duration     // longest request
	Memory        resource.Quantity // limit
	CPU           resource.Quantity // limit; zero for none
	Concurrency   int64             // concurrent requests in one instance; 0 for no limit
	MinScale      int64
	MinScaleSaid  bool              // set by the app, not the default
	MaxScale      int64             // 0 for no limit
	MaxScaleSaid  bool              // set by the app, not the default
	Window        time.Duration     // without requests before the last instance stops, at least 6 s
	Steps         []int64           // percentages of the traffic on the way to 100, rising; none: all at once
	StepTime      time.Duration     // how long each of them lasts
	Env           map[string]string // run-time environment

	pathSaid, timeoutSaid bool // HealthPath and HealthTimeout are set by the app
}

func defaults() Descriptor {
	return Descriptor{
		BuildEnv: map[string]string{}, Processes: map[string]Process{}, Rollout: defaultRollout(),
		Previews: Previews{Branches: []string{"*"}, TTL: defaultPreviewTTL, Env: map[string]string{}},
		Web: Web{
			Port: 8080, HealthPath: "/", HealthTimeout: 30 * time.Second, StartTimeout: 60 * time.Second, Timeout: 300 * time.Second,
			Memory: resource.MustParse("512Mi"), MaxScale: defaultMaxScale, Window: 60 * time.Second, StepTime: 10 * time.Second, Env: map[string]string{},
		},
	}
}

type variable struct {
	Name  string `toml:"name"`
	Value string `toml:"value"`
}

type environment struct {
	Env []variable `toml:"env"`
}

// buildTable is the build table of schema 0.1.
type buildTable struct {
	environment
	Include    []string `toml:"include"`
	Exclude    []string `toml:"exclude"`
	Buildpacks []group  `toml:"buildpacks"`
	Builder    string   `toml:"builder"`
}

type file struct {
	Schema struct {
		Version string `toml:"schema-version"`
		Schema  string `toml:"schema"`
	} `toml:"_"`
	Build buildTable `toml:"build"` // schema 0.1
	IO    struct {
		Buildpacks struct {
			Build   environment `toml:"build"`
			Include []string    `toml:"include"`
			Exclude []string    `toml:"exclude"`
			Builder string      `toml:"builder"`
			Group   []group     `toml:"group"`
			Pre     groups      `toml:"pre"`
			Post    groups      `toml:"post"`
		} `toml:"buildpacks"`
		Gitd struct {
			Build     buildSettings           `toml:"build"`
			Apps      map[string]appSettings  `toml:"apps"`
			Web       webTable                `toml:"web"`
			Rollout   rolloutTable            `toml:"rollout"`
			Release   releaseTable            `toml:"release"`
			Previews  previewTable            `toml:"previews"`
			Processes map[string]processTable `toml:"processes"`
			Config    map[string]configTable  `toml:"config"`
			Schedules []scheduleTable         `toml:"schedules"`
			Function  *functionTable          `toml:"function"`
			Triggers  []triggerTable          `toml:"triggers"`
			Webhooks  []webhookTable          `toml:"webhooks"`
		} `toml:"gitd"`
	} `toml:"io"`
}

// Read reads the descriptor with read, which reads a file at the root of the source, as it is for the app with that name. Where that names a folder of the
// app, or files, the paths of the source, have an app in one folder alone, the descriptor in there counts as well, and where none says otherwise, app.json.
// Without any it returns the defaults.
// For a malformed one it returns an *app.Error with code CodeInvalidInput that names the line or the key.
func Read(read func(name string, limit int64) ([]byte, error), files iter.Seq[string], name string) (Descriptor, error) {
	d, err := readFiles(read, files, name)
	if err == nil {
		d.appJSON(read)
	}
	return d, err
}

// readFiles is Read without app.json.
func readFiles(read func(name string, limit int64) ([]byte, error), files iter.Seq[string], name string) (Descriptor, error) {
	d := defaults()
	b, err := read(File, int64(maxText.Size))
	if err == nil {
		d, err = ParseFor(string(b), name)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return d, err
	}
	if d.AppDir == "" && len(d.Buildpacks) == 0 && len(d.BuildEnv) == 0 {
		if d.AppDir = only(files); d.AppDir != "" {
			d.Remarks = append(d.Remarks, "The app is in "+d.AppDir+"/: nothing else of the repository is one")
		}
	}
	if d.AppDir == "" {
		return d, nil
	}
	b, err = read(path.Join(d.AppDir, File), int64(maxText.Size))
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	return d, d.overlay(string(b))
}

// Parse is Read for the text of a descriptor, for an app that it does not name.
func Parse(text string) (Descriptor, error) { return ParseFor(text, "") }

// byteOrderMark is what editors on Windows begin a file with.
const byteOrderMark = "\ufeff"

// ParseFor is Read for the text of a descriptor.
func ParseFor(text, name string) (Descriptor, error) {
	d := defaults()
	f, meta, err := decode(text)
	if err != nil {
		return d, err
	}
	d.Files, err = files(append(f.Build.Include, f.IO.Buildpacks.Include...), append(f.Build.Exclude, f.IO.Buildpacks.Exclude...))
	if err != nil {
		return d, err
	}
	if err := d.build(&f, name); err != nil {
		return d, err
	}
	d.remark(&f, meta)
	if err := d.set(&f); err != nil {
		return d, err
	}
	if err := d.function(f.IO.Gitd.Function, text); err != nil {
		return d, err
	}
	if err := d.schedules(f.IO.Gitd.Schedules, tableLines(text, "schedules")); err != nil {
		return d, err
	}
	if err := d.triggers(f.IO.Gitd.Triggers, tableLines(text, "triggers")); err != nil {
		return d, err
	}
	return d, d.webhooks(f.IO.Gitd.Webhooks, tableLines(text, "webhooks"))
}

// set takes over what a descriptor says of the build's environment and of how the app runs.
func (d *Descriptor) set(f *file) error {
	for _, v := range append(f.Build.Env, f.IO.Buildpacks.Build.Env...) {
		if !envName(v.Name) {
			return bad("build env: %q cannot be the name of a variable", v.Name)
		}
		d.BuildEnv[v.Name] = v.Value
	}
	if err := d.packages(f.IO.Gitd.Build.Packages); err != nil {
		return err
	}
	for name, p := range f.IO.Gitd.Processes {
		if err := d.process(name, p); err != nil {
			return err
		}
	}
	if err := d.Previews.set(f.IO.Gitd.Previews); err != nil {
		return err
	}
	if err := d.Web.set(f.IO.Gitd.Web); err != nil {
		return err
	}
	if err := d.Release.set(f.IO.Gitd.Release); err != nil {
		return err
	}
	if err := d.config(f.IO.Gitd.Config); err != nil {
		return err
	}
	return d.Rollout.set(f.IO.Gitd.Rollout, len(d.Web.Steps) > 0)
}

var packageName = patterns.New(`^[a-z0-9][a-z0-9+.-]{0,98}[a-z0-9+.]$`)

// packages hands the Debian packages that the app asks for to the build.
func (d *Descriptor) packages(names []string) error {
	const key = "io.gitd.build.packages"
	for _, n := range names {
		if !packageName.MatchString(n) {
			return bad("%s: %q is not the name of a Debian package", key, n)
		}
	}
	if len(names) > catalog.MaxPackages {
		return bad("%s: %d packages, at most %d can be named; what they need comes by itself", key, len(names), catalog.MaxPackages)
	}
	if len(names) > 0 {
		d.BuildEnv[catalog.PackagesVariable] = strings.Join(names, " ")
	}
	return nil
}

// decode parses the text, after checking that the parser can handle it.
func decode(text string) (f file, meta toml.MetaData, err error) {
	if text = strings.TrimPrefix(text, byteOrderMark); strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return f, meta, bad("it is saved as UTF-16: save it as UTF-8")
	}
	if err := bound.TOML([]byte(text), maxText); err != nil {
		return f, meta, bad("%v", err)
	}
	defer func() { // the parser panics on internal errors
		if p := recover(); p != nil {
			err = bad("it cannot be read: %v", p)
		}
	}()
	meta, err = toml.Decode(text, &f)
	var p toml.ParseError
	switch {
	case errors.As(err, &p):
		err = bad("line %d: %s", p.Position.Line, p.Message)
	case err != nil:
		err = bad("%s", strings.TrimPrefix(err.Error(), "toml: "))
	}
	for _, k := range meta.Undecoded() { // tables of other vendors are ignored; an unknown key of ours is a mistake
		if err == nil && len(k) > 2 && k[0] == "io" && k[1] == "gitd" && !inFilter(k) {
			at := ""
			if n := keyLine(text, strings.Join(k[:len(k)-1], "."), k[len(k)-1]); n > 0 {
				at = fmt.Sprintf("line %d: ", n)
			}
			err = bad("%sunknown setting %s", at, k)
		}
	}
	return f, meta, err
}

// inFilter says whether a key is within the filter of a trigger, which event.ReadFilters reads.
func inFilter(k toml.Key) bool { return len(k) > 4 && k[2] == "triggers" && k[3] == "filter" }

func bad(format string, args ...any) error {
	return app.Errorf(app.CodeInvalidInput, "correct the file, commit and push again; docs/apps.md lists the settings", "%s: %s", File, fmt.Sprintf(format, args...))
}
