// Package project reads project.toml: the project descriptor of Cloud Native Buildpacks (schema 0.2, and 0.1's build table), with gitd's own
// settings under [io.gitd].
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/bound"
	"k8s.io/apimachinery/pkg/api/resource"
)

// File is the descriptor's name at the root of the source.
const File = "project.toml"

// Bounds on a descriptor: far more than any needs. Its text is a stranger's, and is parsed in the server.
var maxText = bound.TOMLLimits{Size: 16 << 10, Depth: 32, Path: 1024}

// Descriptor is what project.toml says, with the defaults filled in.
type Descriptor struct {
	BuildEnv  map[string]string // for the build alone
	Files     Files             // what the build sees of the source
	Web       Web
	Instances map[string]int64 // of other process types, by type: 1, or 0 for one that is not to run
}

// Web is how the web process runs.
type Web struct {
	Port          int               // $PORT
	Protocol      string            // "http1", "h2c" (HTTP/2 without TLS), or "" for what the app turns out to speak
	HealthPath    string            // asked for by GET before traffic shifts
	HealthTimeout time.Duration     // how long it may answer 5xx, or nothing, before the release fails
	StartTimeout  time.Duration     // how long it may take to listen
	Timeout       time.Duration     // longest request
	Memory        resource.Quantity // limit
	CPU           resource.Quantity // limit; zero for none
	Concurrency   int64             // requests at once in one instance; 0 for no bound
	MinScale      int64
	MaxScale      int64             // 0 for no bound but the machine's
	MaxScaleSaid  bool              // it is the app's own, not the default
	Window        time.Duration     // without requests before the last instance stops, at least 6 s
	Steps         []int64           // percentages of the traffic on the way to 100, rising; none: all at once
	StepTime      time.Duration     // how long each of them stays
	Env           map[string]string // run-time environment
}

func defaults() Descriptor {
	return Descriptor{
		BuildEnv: map[string]string{}, Instances: map[string]int64{},
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

// buildTable is schema 0.1's.
type buildTable struct {
	environment
	Include []string `toml:"include"`
	Exclude []string `toml:"exclude"`
}

type file struct {
	Build buildTable `toml:"build"` // schema 0.1
	IO    struct {
		Buildpacks struct {
			Build   environment `toml:"build"`
			Include []string    `toml:"include"`
			Exclude []string    `toml:"exclude"`
		} `toml:"buildpacks"`
		Gitd struct {
			Web struct {
				Port          *int64            `toml:"port"`
				Protocol      *string           `toml:"protocol"`
				HealthPath    *string           `toml:"health-path"`
				HealthTimeout *string           `toml:"health-timeout"`
				StartTimeout  *string           `toml:"start-timeout"`
				Timeout       *string           `toml:"timeout"`
				Memory        *string           `toml:"memory"`
				CPU           *string           `toml:"cpu"`
				Concurrency   *int64            `toml:"concurrency"`
				MinScale      *int64            `toml:"min-scale"`
				MaxScale      *int64            `toml:"max-scale"`
				Window        *string           `toml:"window"`
				Steps         []int64           `toml:"traffic-steps"`
				StepTime      *string           `toml:"step-time"`
				Env           map[string]string `toml:"env"`
			} `toml:"web"`
			Processes map[string]struct {
				Instances *int64 `toml:"instances"`
			} `toml:"processes"`
		} `toml:"gitd"`
	} `toml:"io"`
}

// Read reads the descriptor by read, which opens a file at the root of the source. Where there is none, the defaults hold.
// It returns an *app.Error with code CodeInvalidInput, naming the line or the key, for a malformed one.
func Read(read func(name string, limit int64) ([]byte, error)) (Descriptor, error) {
	b, err := read(File, int64(maxText.Size))
	if errors.Is(err, fs.ErrNotExist) {
		return defaults(), nil
	}
	if err != nil {
		return Descriptor{}, err
	}
	return Parse(string(b))
}

// Parse is Read for the text of a descriptor.
func Parse(text string) (Descriptor, error) {
	d := defaults()
	f, meta, err := decode(text)
	if err != nil {
		return d, err
	}
	for _, k := range meta.Undecoded() { // other vendors' tables are theirs; a key of ours that we don't know is a slip
		if len(k) > 2 && k[0] == "io" && k[1] == "gitd" {
			return d, bad("there is no setting %s", k)
		}
	}
	for _, v := range append(f.Build.Env, f.IO.Buildpacks.Build.Env...) {
		if !envName(v.Name) {
			return d, bad("build env: %q cannot be the name of a variable", v.Name)
		}
		d.BuildEnv[v.Name] = v.Value
	}
	d.Files, err = files(append(f.Build.Include, f.IO.Buildpacks.Include...), append(f.Build.Exclude, f.IO.Buildpacks.Exclude...))
	if err != nil {
		return d, err
	}
	for name, p := range f.IO.Gitd.Processes {
		switch key := "io.gitd.processes." + name; {
		case name == "web":
			return d, bad("%s: web has settings of its own: [io.gitd.web] min-scale and max-scale", key)
		case name == "release":
			return d, bad("%s: release runs once for each push; take it out of the Procfile if it is not to run", key)
		case p.Instances == nil:
		case *p.Instances != 0 && *p.Instances != 1:
			return d, bad("%s.instances: %d is not possible; give 1, or 0 to switch it off", key, *p.Instances)
		default:
			d.Instances[name] = *p.Instances
		}
	}
	w := f.IO.Gitd.Web
	for name, value := range w.Env {
		if !envName(name) {
			return d, bad("io.gitd.web.env: %q cannot be the name of a variable", name)
		}
		if name == "PORT" || strings.HasPrefix(name, "K_") {
			return d, bad("io.gitd.web.env: %s is set by the platform", name)
		}
		d.Web.Env[name] = value
	}
	if w.HealthPath != nil {
		if _, err := url.ParseRequestURI(*w.HealthPath); err != nil || !strings.HasPrefix(*w.HealthPath, "/") || strings.ContainsAny(*w.HealthPath, " \r\n") {
			return d, bad("io.gitd.web.health-path: %q must start with /, hold no space and be a valid path of a URL", *w.HealthPath)
		}
		d.Web.HealthPath = *w.HealthPath
	}
	if w.Protocol != nil {
		if *w.Protocol != "http1" && *w.Protocol != "h2c" {
			return d, bad("io.gitd.web.protocol: %q is not possible; give \"http1\", or \"h2c\" for HTTP/2 without TLS", *w.Protocol)
		}
		d.Web.Protocol = *w.Protocol
	}
	var port int64 = 8080
	return d, errors.Join(
		number("port", w.Port, 1, 65535, &port, func() { d.Web.Port = int(port) }),
		number("concurrency", w.Concurrency, 0, 1000, &d.Web.Concurrency, nil),
		number("min-scale", w.MinScale, 0, 1000, &d.Web.MinScale, nil),
		number("max-scale", w.MaxScale, 0, 1000, &d.Web.MaxScale, nil),
		order(&d.Web, w.MaxScale != nil),
		steps(w.Steps, &d.Web),
		duration("step-time", w.StepTime, time.Second, 10*time.Minute, &d.Web.StepTime),
		duration("health-timeout", w.HealthTimeout, time.Second, 10*time.Minute, &d.Web.HealthTimeout),
		duration("start-timeout", w.StartTimeout, time.Second, 10*time.Minute, &d.Web.StartTimeout),
		duration("timeout", w.Timeout, time.Second, 10*time.Minute, &d.Web.Timeout),
		duration("window", w.Window, 6*time.Second, time.Hour, &d.Web.Window),
		quantity("memory", w.Memory, "16Mi", "64Gi", &d.Web.Memory),
		quantity("cpu", w.CPU, "10m", "64", &d.Web.CPU),
	)
}

// decode parses the text, which is made sure to be within the parser's means.
func decode(text string) (f file, meta toml.MetaData, err error) {
	if err := bound.TOML([]byte(text), maxText); err != nil {
		return f, meta, bad("%v", err)
	}
	defer func() { // the parser panics where it finds itself to be wrong
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
	return f, meta, err
}

// defaultMaxScale keeps an app that says nothing about it from taking the whole machine.
const defaultMaxScale = 10

func order(w *Web, said bool) error {
	if w.MaxScaleSaid = said; !said {
		w.MaxScale = max(w.MaxScale, w.MinScale)
	}
	if w.MaxScale != 0 && w.MinScale > w.MaxScale {
		return bad("io.gitd.web.min-scale: %d is more than max-scale (%d)", w.MinScale, w.MaxScale)
	}
	return nil
}

// maxSteps keeps a rollout from going on for hours.
const maxSteps = 20

func steps(list []int64, w *Web) error {
	before := int64(0)
	for _, n := range list {
		if n <= before || n >= 100 || len(list) > maxSteps {
			return bad("io.gitd.web.traffic-steps: give at most %d percentages between 1 and 99 that rise, such as [10, 50]", maxSteps)
		}
		before = n
	}
	w.Steps = list
	return nil
}

func number(name string, v *int64, low, high int64, to *int64, then func()) error {
	if v == nil {
		return nil
	}
	if *v < low || *v > high {
		return bad("io.gitd.web.%s: %d is not between %d and %d", name, *v, low, high)
	}
	*to = *v
	if then != nil {
		then()
	}
	return nil
}

func duration(name string, v *string, low, high time.Duration, to *time.Duration) error {
	if v == nil {
		return nil
	}
	d, err := time.ParseDuration(*v)
	if err != nil {
		return bad("io.gitd.web.%s: %q is not a time such as \"30s\" or \"2m\"", name, *v)
	}
	if d < low || d > high {
		return bad("io.gitd.web.%s: %s is not between %s and %s", name, *v, low, high)
	}
	*to = d
	return nil
}

func quantity(name string, v *string, low, high string, to *resource.Quantity) error {
	if v == nil {
		return nil
	}
	q, err := resource.ParseQuantity(*v)
	if err != nil || math.IsInf(q.AsApproximateFloat64(), 0) {
		return bad("io.gitd.web.%s: %q is not a quantity such as %q", name, *v, map[string]string{"memory": "256Mi", "cpu": "500m"}[name])
	}
	if q.Cmp(resource.MustParse(low)) < 0 || q.Cmp(resource.MustParse(high)) > 0 {
		return bad("io.gitd.web.%s: %s is not between %s and %s", name, *v, low, high)
	}
	*to = q
	return nil
}

func envName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, c := range s {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func bad(format string, args ...any) error {
	return app.Errorf(app.CodeInvalidInput, "mend the file, commit and push again; docs/apps.md lists the settings", "%s: %s", File, fmt.Sprintf(format, args...))
}
