package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/pflag"
)

// load reads a configuration from a command line, a file's text ("" for no file) and an environment.
func load(t *testing.T, args []string, text string, env ...string) (*Set, string, error) {
	t.Helper()
	s := NewSet()
	s.defaultFile = filepath.Join(t.TempDir(), "config.toml")
	if text != "" {
		if err := os.WriteFile(s.defaultFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s, s.defaultFile, s.Load(env)
}

func TestLoad(t *testing.T) {
	const file = `
[http]
address = "127.0.0.1:80"
trusted-proxies = ["10.1.2.3", "10.2.0.0/16"]
[builds]
memory = "3Gi" # and more
concurrency = 3
time = "20m"
disk = 1073741824
[limits]
cpu = 2
`
	s, _, err := load(t, []string{"--http", "127.0.0.1:81", "--submodules-from", "10.0.0.1,10.0.0.2", "--submodules-from=10.3.0.0/16", "--max-memory", "0"},
		file, "GITD_SSH=:22", "GITD_BUILD_MEMORY=4Gi", "GITD_MAX_CPU=500m", "GITD_DOMAIN=", "OTHER=1")
	if err != nil {
		t.Fatal(err)
	}
	c := s.Config
	for name, is := range map[string][2]any{
		"default":                   {c.Server.Data, "/var/lib/gitd"},
		"empty variable":            {c.Server.Domain, "localhost"},
		"environment":               {c.SSH.Address, ":22"},
		"file":                      {c.Builds.Time, 20 * time.Minute},
		"file, a number":            {c.Builds.Concurrency, 3},
		"file, bytes":               {c.Builds.Disk, int64(1 << 30)},
		"file above environment":    {c.Builds.Memory, int64(3 << 30)},
		"file above environment, 2": {c.Limits.CPU, int64(2000)},
		"flag above file":           {c.HTTP.Address, "127.0.0.1:81"},
		"flag":                      {c.Limits.Memory, int64(0)},
		"computed":                  {c.Limits.KeyMemory, int64(ByMachine)},
	} {
		if is[0] != is[1] {
			t.Errorf("%s: %v, want %v", name, is[0], is[1])
		}
	}
	if got := len(c.HTTP.TrustedProxies); got != 2 || c.HTTP.TrustedProxies[0].String() != "10.1.2.3/32" {
		t.Errorf("%v", c.HTTP.TrustedProxies)
	}
	if got := len(c.Git.SubmodulesFrom); got != 3 {
		t.Errorf("%v", c.Git.SubmodulesFrom)
	}
}

// Two sources that disagree: the log says which holds. Two that agree: nothing.
func TestNotes(t *testing.T) {
	s, path, err := load(t, []string{"--http", ":81", "--ssh", ":22"}, "[http]\naddress = \":80\"\n[ssh]\naddress = ':22'\n[server]\ndomain = 'a.example'\n",
		"GITD_DOMAIN=b.example", "GITD_BUILD_MEMROY=1Gi", "GITD_PARTS=/x", "GITD_TIMINGS=1", "GITD_REGISTRY_PORT=tcp://10.0.0.1:1", "GITD_SERVICE_HOST=10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"the variable GITD_BUILD_MEMROY is ignored: there is no such setting; did you mean GITD_BUILD_MEMORY?",
		path + ", line 6: server.domain is taken; GITD_DOMAIN is ignored",
		"--http is taken; " + path + ", line 2: http.address is ignored",
	}
	if !reflect.DeepEqual(s.Notes(), want) {
		t.Errorf("%s", strings.Join(s.Notes(), "\n"))
	}
}

// badInput is what keeps a server from starting, and what it is told.
var badInput = []struct {
	name          string
	args          []string
	file          string
	env           []string
	message, next string // FILE stands for the file's name
}{
	{name: "UnknownKey", file: "[http]\naddress = ':80'\n[builds]\nmemroy = '3Gi'\n", message: `FILE, line 4: there is no setting "memroy" in [builds]`, next: "did you mean memory?"},
	{name: "FlagForKey", file: "[builds]\n\nbuild-memory = '3Gi'\n", message: `FILE, line 3: there is no setting "build-memory" in [builds]`, next: "did you mean memory in [builds]?"},
	{name: "OtherGroup", file: "[server]\nuser-ca = 'x'\n", message: `FILE, line 2: there is no setting "user-ca" in [server]`, next: "did you mean user-ca in [ssh]?"},
	{name: "UnknownGroup", file: "[build]\nmemory = '3Gi'\n", message: `FILE, line 1: there is no group "build"`, next: "did you mean [builds]?"},
	{name: "NoGroup", file: "domain = 'x'\n", message: `FILE, line 1: there is no setting "domain"`, next: "did you mean domain in [server]?"},
	{name: "NothingLikeIt", file: "[frobnicate]\n", message: `FILE, line 1: there is no group "frobnicate"`, next: readOn},
	{name: "GroupIsNot", file: "ssh = ':22'\n", message: "FILE, line 1: ssh is a group of settings, not a setting", next: "write [ssh], and its settings below"},
	{name: "GroupIsAList", file: "[[ssh]]\naddress = ':22'\n", message: "FILE, line 1: ssh is a group of settings, not a setting", next: "write [ssh], and its settings below"},
	{name: "QuotedKey", file: "\n[builds]\n\"mem ory,\" = 1\n", message: `FILE: there is no setting "mem ory," in [builds]`, next: "did you mean memory?"},
	{name: "WrongType", file: "[builds]\nconcurrency = '2'\n", message: `FILE, line 2: builds.concurrency is a number without quotes, not the text "2"`, next: readOn},
	{name: "WrongType2", file: "[ssh]\naddress = 22\n", message: `FILE, line 2: ssh.address is an address such as ":8080", not the number 22`, next: readOn},
	{name: "WrongType3", file: "[http]\ntrusted-proxies = [1]\n", message: `FILE, line 2: http.trusted-proxies is a list of networks such as ["10.1.2.0/24"], not this list`, next: readOn},
	{name: "WrongType4", file: "[builds.memory]\nx = 1\n", message: `FILE, line 1: builds.memory is an amount of bytes such as "2Gi", not a table`, next: readOn},
	{name: "WrongType5", file: "[server]\nplatform = 'knative'\n[registry]\ninsecure = 'true'\n", message: `FILE, line 4: registry.insecure is true or false, not the text "true"`, next: readOn},
	{name: "WrongType6", file: "[builds]\ntime = 1979-05-27\n", message: `FILE, line 2: builds.time is a time such as "15m", not a date`, next: readOn},
	{name: "OutOfRange", file: "[builds]\nconcurrency = -1\n", message: `FILE, line 2: builds.concurrency: "-1" is out of range`, next: "give a whole number from 0 to 2147483647"},
	{name: "OutOfRangeFlag", args: []string{"--build-concurrency", "-1"}, message: `--build-concurrency: "-1" is out of range`, next: "give a whole number from 0 to 2147483647"},
	{name: "Port", args: []string{"--ssh", "127.0.0.1:70000"}, message: `--ssh: "127.0.0.1:70000" is not an address to listen on`, next: "give one such as :2222 or 127.0.0.1:2222"},
	{name: "Amount", args: []string{"--build-memory", "lots"}, message: `--build-memory: "lots" is not an amount of bytes`, next: "give one such as 2Gi"},
	{name: "AmountOfNothing", env: []string{"GITD_BUILD_MEMORY=0"}, message: `GITD_BUILD_MEMORY: "0" is not an amount of bytes`, next: "give one such as 2Gi"},
	{name: "Limit", args: []string{"--max-memory=-1"}, message: `--max-memory: "-1" is not an amount of bytes`, next: "give one such as 2Gi, or 0 for no limit"},
	{name: "Cores", args: []string{"--max-cpu", "many"}, message: `--max-cpu: "many" is not a number of cores`, next: "give one such as 2 or 500m, or 0 for no limit"},
	{name: "Time", args: []string{"--build-time", "15"}, message: `--build-time: "15" is not a time`, next: "give one such as 15m or 90s"},
	{name: "Choice", args: []string{"--indexer", "svn"}, message: `--indexer: "svn" is not one of gitd, git`, next: "use gitd or git"},
	{name: "Network", args: []string{"--submodules-from", "10.0.0.0/8,somewhere"}, message: `--submodules-from: "somewhere" is not a network`, next: "give one such as 10.1.2.0/24, or an address"},
	{name: "UIDs", args: []string{"--uids", "5-1"}, message: `--uids: "5-1" is not a range of user IDs`, next: "give it as FIRST-LAST, such as 2000000-2089999, from 1000 on and without 65534"},
	{name: "Toggle", env: []string{"GITD_REGISTRY_INSECURE=perhaps"}, message: `GITD_REGISTRY_INSECURE: "perhaps" is neither true nor false`, next: "give true or false"},
	{name: "NotTOML", file: "[http]\naddress = :80\n", message: "FILE, line 2: ", next: "correct the file; a setting is written as name = value, a text in quotes"},
	{name: "Twice", file: "[http]\n[ssh]\n[http]\n", message: "FILE, line 3: ", next: "correct the file; a setting is written as name = value, a text in quotes"},
	{name: "NotText", file: "[http]\n\x00\n", message: "FILE, line 2: a control character (0x00)", next: "correct the file"},
	{name: "TooDeep", file: "x = " + strings.Repeat("[", 20), message: "FILE, line 1: keys, tables and arrays are nested more than 8 deep", next: "correct the file"},
	{name: "TooLarge", file: strings.Repeat("# more\n", 10_000), message: "the configuration file FILE cannot be read: it is larger than 64 KiB", next: "name a readable file: --config FILE"},
	{name: "Missing", args: []string{"--config", "/missing/config.toml"}, message: "the configuration file /missing/config.toml cannot be read: no such file or directory", next: "name a readable file: --config FILE"},
	{name: "MissingByVariable", env: []string{"GITD_CONFIG=/missing"}, message: "the configuration file /missing cannot be read: no such file or directory", next: "name a readable file: --config FILE"},
	{name: "Folder", args: []string{"--config", "/"}, message: "the configuration file / cannot be read: it is not a regular file", next: "name a readable file: --config FILE"},
	{name: "ClusterOnly", args: []string{"--registry-pull", "x:1"}, message: "--registry-pull requires --platform knative", next: "add --platform knative, or leave it out"},
	{name: "ClusterOnlyInFile", file: "[cluster]\nnamespace = 'x'\n", message: "FILE, line 2: cluster.namespace requires --platform knative", next: "add --platform knative, or leave it out"},
	{name: "ClusterOnlyInEnvironment", env: []string{"GITD_KUBECONFIG=x"}, message: "GITD_KUBECONFIG requires --platform knative", next: "add --platform knative, or leave it out"},
	{name: "MachineOnly", args: []string{"--platform", "knative", "--http", ":80"}, message: "--http: on a cluster, its ingress takes the apps' requests", next: "leave it out"},
	{name: "MachineOnlyInFile", args: []string{"--platform", "knative"}, file: "[machine]\nuids = '5000-6000'\n", message: "FILE, line 2: machine.uids requires --platform local", next: "add --platform local, or leave it out"},
}

func TestLoad_BadInput(t *testing.T) {
	for _, tt := range badInput {
		t.Run(tt.name, func(t *testing.T) {
			_, path, err := load(t, tt.args, tt.file, tt.env...)
			if app.CodeOf(err) != app.CodeInvalidInput {
				t.Fatalf("%v", err)
			}
			message, next := app.Explain(err)
			if message = strings.ReplaceAll(message, path, "FILE"); !strings.HasPrefix(message, tt.message) || next != tt.next {
				t.Errorf("%s\n%s", message, next)
			}
		})
	}
}

// What is printed is a file that means the same.
func TestPrint(t *testing.T) {
	for _, args := range [][]string{
		{"--ssh", ":22", "--trusted-proxies", "10.0.0.1", "--max-cpu", "500m", "--user-ca", `/a "strange" \name`},
		{"--platform", "knative", "--registry-insecure", "--build-namespace", "builds"},
	} {
		s, _, err := load(t, args, "", "GITD_BUILD_TIME=90s")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := s.Print(&b); err != nil {
			t.Fatal(err)
		}
		again, _, err := load(t, nil, b.String())
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if !reflect.DeepEqual(again.Config, s.Config) {
			t.Errorf("%+v\n%+v\n%s", again.Config, s.Config, b.String())
		}
		for _, line := range []string{`data = "/var/lib/gitd" # default`, `time = "1m30s" # GITD_BUILD_TIME`, "# memory: half of the machine's"} {
			if !strings.Contains(b.String(), line) {
				t.Errorf("%q is missing in\n%s", line, b.String())
			}
		}
	}
}

// Names are unique, and no variable is one that Kubernetes sets.
func TestDeclared(t *testing.T) {
	keys, flags := map[string]bool{}, map[string]bool{fileFlag: true}
	for _, x := range NewSet().settings {
		if keys[x.Group+"."+x.Key] || flags[x.Flag] || linkOfAService(x.Variable()) || x.Usage == "" {
			t.Errorf("%+v", x)
		}
		keys[x.Group+"."+x.Key], flags[x.Flag] = true, true
	}
}

func TestUIDs(t *testing.T) {
	for in, want := range map[string]UIDs{
		"2000000-2089999": defaultUIDs, "2000000": defaultUIDs, "": defaultUIDs, "1000-1000": {1000, 1000}, "70000-80000": {70000, 80000},
		"999-2000": {}, "2000-1999": {}, "60000-70000": {}, "1000000000-2147483648": {}, "x": {}, "1000-": {}, "-5": {}, "1000-2000-3000": {},
		"5000": {}, "-": {}, "4294967295": {},
	} {
		got, p := parseUIDs(in)
		if got != want || (p == nil) != (want != UIDs{}) {
			t.Errorf("%q: %v, %v", in, got, p)
		}
	}
}

// The page has the tables that the declarations make. To write them again: GITD_TEST_UPDATE=1 go test ./internal/config
func TestDocumentation(t *testing.T) {
	const page = "../../docs/configuration.md"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin = "<!-- made from internal/config -->\n"
	head, _, ok := strings.Cut(string(b), begin)
	if !ok {
		t.Fatalf("%s has no line %q", page, begin)
	}
	want := head + begin + Markdown()
	if string(b) == want {
		return
	}
	if os.Getenv("GITD_TEST_UPDATE") == "" {
		t.Fatalf("%s is not what the settings say: GITD_TEST_UPDATE=1 go test ./internal/config", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("[http]\naddress = ':80'\n[builds]\nmemory = '3Gi'\nconcurrency=1")
	f.Add("[[ssh]]\n[ssh.x]\na.b.c = {d=1}")
	f.Add("\"a\\u0022b,\" = [[1]]")
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" {
			return
		}
		_, _, err := load(t, nil, text)
		if err == nil {
			return
		}
		if message, next := app.Explain(err); app.CodeOf(err) == app.CodeInternal || message == "" || next == "" || strings.ContainsAny(message, "\n\x1b") {
			t.Errorf("%q: %q / %q", text, message, next)
		}
	})
}
