package project

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
)

func TestParse_Settings(t *testing.T) {
	d, err := Parse(`
[_]
schema-version = "0.2"
[[io.buildpacks.build.env]]
name = "BP_GO_TARGET"
value = "./cmd/web"
[com.other]
theirs = true
[io.gitd.web]
port = 3000
health-path = "/healthz"
health-timeout = "5s"
memory = "64Mi"
concurrency = 10
min-scale = 1
max-scale = 3
window = "6s"
traffic-steps = [10, 50]
step-time = "3s"
[io.gitd.processes.worker]
instances = 0
[io.gitd.processes.clock]
instances = 3
memory = "1Gi"
cpu = "500m"
[io.gitd.processes.other]
[io.gitd.web.env]
GREETING = "hi"
`)
	if err != nil {
		t.Fatal(err)
	}
	if c := d.Processes["clock"]; len(d.Processes) != 3 || *d.Processes["worker"].Instances != 0 || *c.Instances != 3 || c.Memory.String() != "1Gi" || c.CPU.String() != "500m" ||
		d.Processes["other"].Instances != nil {
		t.Errorf("%v", d.Processes)
	}
	w := d.Web
	if d.BuildEnv["BP_GO_TARGET"] != "./cmd/web" || w.Port != 3000 || w.HealthPath != "/healthz" || w.HealthTimeout != 5*time.Second ||
		w.Memory.String() != "64Mi" || w.Concurrency != 10 || w.MinScale != 1 || w.MaxScale != 3 || w.Window != 6*time.Second ||
		!slices.Equal(w.Steps, []int64{10, 50}) || w.StepTime != 3*time.Second || w.Env["GREETING"] != "hi" {
		t.Fatalf("%+v", d)
	}
}

func TestParse_Errors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"Malformed", "a = 1\nb = = 2\n", "line 2"},
		{"WrongType", "[io.gitd.web]\nport = \"x\"\n", "port"},
		{"UnknownSetting", "[io.gitd.web]\nhelth-path = \"/\"\n", "unknown setting io.gitd.web.helth-path"},
		{"Port", "[io.gitd.web]\nport = 70000\n", "not between 1 and 65535"},
		{"Escape", "[io.gitd.web]\nhealth-path = \"/%zz\"\n", "must start with /"},
		{"Path", "[io.gitd.web]\nhealth-path = \"healthz\"\n", "must start with /"},
		{"Duration", "[io.gitd.web]\nhealth-timeout = \"soon\"\n", "is not a time"},
		{"Window", "[io.gitd.web]\nwindow = \"1s\"\n", "not between 6s"},
		{"Memory", "[io.gitd.web]\nmemory = \"lots\"\n", "is not a quantity"},
		{"Scale", "[io.gitd.web]\nmin-scale = 3\nmax-scale = 2\n", "more than max-scale"},
		{"Steps", "[io.gitd.web]\ntraffic-steps = [50, 10]\n", "that rise"},
		{"StepHundred", "[io.gitd.web]\ntraffic-steps = [100]\n", "between 1 and 99"},
		{"Workers", "[io.gitd.processes.worker]\ninstances = 101\n", "io.gitd.processes.worker.instances: 101 is not between 0 and 100"},
		{"WorkerSetting", "[io.gitd.processes.worker]\nport = 1\n", "unknown setting io.gitd.processes.worker.port"},
		{"WorkerMemory", "[io.gitd.processes.worker]\nmemory = \"1M\"\n", "io.gitd.processes.worker.memory: 1M is not between 16Mi and 64Gi"},
		{"WorkerWebSize", "[io.gitd.processes.web]\nmemory = \"1Gi\"\n", "[io.gitd.web] memory and cpu"},
		{"WorkerWeb", "[io.gitd.processes.web]\ninstances = 2\n", "[io.gitd.web] min-scale"},
		{"WorkerRelease", "[io.gitd.processes.release]\ninstances = 0\n", "runs once for each push"},
		{"EnvName", "[io.gitd.web.env]\n\"A B\" = \"\"\n", "cannot be the name"},
		{"EnvPort", "[io.gitd.web.env]\nPORT = \"1\"\n", "set by the platform"},
		{"PackageName", "[io.gitd.build]\npackages = [\"ffmpeg\", \"-oDir=/\"]\n", `io.gitd.build.packages: "-oDir=/" is not the name of a Debian package`},
		{"PackageRemoved", "[io.gitd.build]\npackages = [\"bash-\"]\n", `"bash-" is not the name`},
		{"Packages", "[io.gitd.build]\npackages = [" + strings.Repeat("\"jq\",", 101) + "]\n", "101 packages, at most 100"},
		{"PackagesType", "[io.gitd.build]\npackages = \"jq\"\n", "packages"},
		{"BuildEnvName", "[[io.buildpacks.build.env]]\nname = \"../x\"\n", "cannot be the name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text)
			if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "project.toml: ") {
				t.Fatalf("err = %v (%s), want %q", err, app.CodeOf(err), tt.want)
			}
		})
	}
}

func TestPackages(t *testing.T) {
	d, err := Parse("[io.gitd.build]\npackages = [\"g++\", \"libpq-dev\"]\n")
	if got := d.BuildEnv[catalog.PackagesVariable]; err != nil || got != "g++ libpq-dev" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRead_Absent(t *testing.T) {
	d, err := Read(func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }, slices.Values[[]string](nil), "app")
	if err != nil || d.Web.Port != 8080 || d.Web.HealthPath != "/" {
		t.Fatalf("%+v, %v", d, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[io.gitd.web]\nport = 1\n")
	f.Add("[[build.env]]\nname = \"A\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := Parse(s); err != nil && app.CodeOf(err) != app.CodeInvalidInput {
			t.Fatal(err)
		}
	})
}

// An app without a max-scale gets one.
func TestMaxScale(t *testing.T) {
	for text, want := range map[string]int64{"": 10, "[io.gitd.web]\nmin-scale = 3\n": 10, "[io.gitd.web]\nmin-scale = 12\n": 12, "[io.gitd.web]\nmax-scale = 0\n": 0,
		"[io.gitd.web]\nmin-scale = 3\nmax-scale = 4\n": 4} {
		if d, err := Parse(text); err != nil || d.Web.MaxScale != want {
			t.Errorf("%q: %d, %v; want %d", text, d.Web.MaxScale, err, want)
		}
	}
}

func TestProtocol(t *testing.T) {
	for text, want := range map[string]string{"": "", "[io.gitd.web]\nprotocol = \"h2c\"\n": "h2c", "[io.gitd.web]\nprotocol = \"http1\"\n": "http1"} {
		if d, err := Parse(text); err != nil || d.Web.Protocol != want {
			t.Errorf("%q: %q, %v; want %q", text, d.Web.Protocol, err, want)
		}
	}
	if _, err := Parse("[io.gitd.web]\nprotocol = \"h3\"\n"); err == nil {
		t.Error("h3 is taken")
	}
}
