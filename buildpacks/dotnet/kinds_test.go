package dotnet

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// says is a program that prints its name, its folder's file note.txt, and its arguments.
const says = "import sys\nprint(sys.argv)\n"

// TestKinds builds apps of several kinds, and looks at what is in the image and how it starts. A line of the Procfile is run.
func TestKinds(t *testing.T) {
	m := mirror(t, allReleased[1:4], "")
	two := map[string]string{"src/Shop/Shop.csproj": projectFile(sdkWeb, "net8.0", ""), "src/Shop/Program.cs": says, "src/Work/Work.csproj": projectFile("Microsoft.NET.Sdk.Worker", "net8.0", ""), "src/Work/Program.cs": says}
	with := func(procfile string) map[string]string {
		files := map[string]string{"Procfile": procfile}
		for f, text := range two {
			files[f] = text
		}
		return files
	}
	published := map[string]string{"Shop.dll": says, "Shop.runtimeconfig.json": `{"runtimeOptions":{"framework":{"name":"Microsoft.AspNetCore.App","version":"9.0.1"},"configProperties":{"System.Globalization.Invariant":true}}}`}
	for _, c := range []struct {
		name      string
		files     map[string]string
		env       map[string]string
		processes string // type: command, sorted
		has       string // files of the image
		lacks     string // layers
		line      string // of a Procfile, to be run
		prints    string
		calls     string // a part of what the SDK was called with
	}{
		{name: "worker", files: map[string]string{"Work.csproj": projectFile("Microsoft.NET.Sdk.Worker", "net8.0", ""), "Program.cs": says}, processes: "worker: dotnet Work.dll", has: "Work.dll"},
		{name: "site", files: map[string]string{"Site.csproj": projectFile("Microsoft.NET.Sdk.BlazorWebAssembly", "net8.0", "")}, has: SiteFolder + "/index.html " + SiteFolder + "/_framework/dotnet.wasm", lacks: "dotnet settings icu"},
		{name: "published", files: published, processes: "web: dotnet Shop.dll", has: "Shop.dll", lacks: "icu"},
		{name: "published with its runtime", files: map[string]string{"Shop.dll": says, "Shop": "#!/bin/sh\necho shop\n", "Shop.runtimeconfig.json": `{"runtimeOptions":{"includedFrameworks":[{"name":"Microsoft.NETCore.App","version":"9.0.1"}]}}`},
			processes: "web: ./Shop", lacks: "dotnet", line: "./Shop", prints: "shop"},
		{name: "one file", files: map[string]string{"app.cs": "#:sdk Microsoft.NET.Sdk.Web\n", "Program.cs": says}, processes: "web: dotnet app.dll", calls: "publish app.cs -c Release -o .gitd-published/0 -p:PublishAot=false"},
		{name: "locked, with flags", files: map[string]string{"a.csproj": webProject("net8.0"), "Program.cs": says, "packages.lock.json": "{}"}, env: map[string]string{settingFlags: "-p:Version='1 2' --sc false"}, processes: "web: dotnet a.dll",
			calls: "-p:RestoreLockedMode=true -p:Version=1 2 --sc false"},
		{name: "several frameworks", files: map[string]string{"a.csproj": `<Project Sdk="Microsoft.NET.Sdk.Web"><PropertyGroup><TargetFrameworks>net8.0;net48</TargetFrameworks></PropertyGroup></Project>`, "Program.cs": says}, processes: "web: dotnet a.dll", calls: "-f net8.0"},
		{name: "asked for both", files: two, env: map[string]string{settingProject: "src/Shop src/Work"}, processes: "web: dotnet Shop.dll; work: dotnet Work.dll", has: "Shop.dll Work/Work.dll"},
		{name: "dotnet run", files: with("web: dotnet run --project src/Shop -c Release -- --urls x\n"), has: "Shop.dll", line: "dotnet run --project src/Shop -c Release -- --urls x", prints: "['Shop.dll', '--urls', 'x']"},
		{name: "dotnet watch", files: with("web: cd src/Shop && dotnet watch run\n"), line: "cd src/Shop && dotnet watch run", prints: "['Shop.dll']"},
		{name: "where the SDK publishes to", files: with("web: cd src/Shop/bin/publish && dotnet Shop.dll a\nworker: dotnet src/Work/bin/Release/net8.0/publish/Work.dll\n"), has: "Work/Work.dll",
			line: "(cd src/Shop/bin/publish && dotnet Shop.dll a) && dotnet src/Work/bin/Release/net8.0/publish/Work.dll", prints: "['Shop.dll', 'a']\n['src/Work/bin/Release/net8.0/publish/Work.dll']"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := bptest.New(t, catalog.DotNet)
			r.Env[settingMirror] = m.url
			for name, value := range c.env {
				r.Env[name] = value
			}
			built, err := r.Build(testBuildpack(&out), c.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if got := list(built); got != c.processes {
				t.Errorf("processes: %s, want %s", got, c.processes)
			}
			for f := range strings.FieldsSeq(c.has) {
				if !kit.IsFile(r.App, f) {
					t.Errorf("%s is not in the image", f)
				}
			}
			for l := range strings.FieldsSeq(c.lacks) {
				if _, there := built.Metadata[l]; there {
					t.Errorf("there is a layer %s", l)
				}
			}
			if calls := kit.Text(r.Env["BP_CACHE_MOUNT"], "dotnet-home", "calls"); !strings.Contains(calls, c.calls) {
				t.Errorf("the SDK was called with %s, want %s", calls, c.calls)
			}
			if c.line == "" {
				return
			}
			cmd := exec.Command("sh", "-c", c.line)
			cmd.Dir, cmd.Env = r.App, r.LaunchEnv()
			said, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(said)) != c.prints {
				t.Errorf("%v: it prints %s, want %s", err, said, c.prints)
			}
		})
	}
}

// list writes processes in a line.
func list(built bptest.Built) string {
	var all []string
	for _, kind := range []string{"web", "work", "worker"} {
		if p, there := built.Processes[kind]; there {
			all = append(all, kind+": "+strings.Join(append([]string{p.Command}, p.Arguments...), " "))
		}
	}
	return strings.Join(all, "; ")
}

// TestCommitted: what a developer's machine compiled is left out, with a warning.
func TestCommitted(t *testing.T) {
	m := mirror(t, allReleased[3:4], "")
	var out bytes.Buffer
	r := bptest.New(t, catalog.DotNet)
	r.Env[settingMirror] = m.url
	files := map[string]string{"a.csproj": webProject("net8.0"), "Program.cs": says, "obj/project.assets.json": "{}", "bin/Debug/net8.0/a.dll": "x"}
	if _, err := r.Build(testBuildpack(&out), files); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Warning: obj is left out of the build; add bin/ and obj/ to .gitignore") || kit.Exists(r.App, "bin") {
		t.Error(out.String())
	}
	objects, err := filepath.Glob(filepath.Join(r.Env["BP_CACHE_MOUNT"], "dotnet-obj", "*", "*", "a.dll"))
	if err != nil || len(objects) != 1 {
		t.Errorf("what was compiled is not in the cache: %v", objects)
	}
}

// TestJavaScript: which projects call Node.js, and which package.json says what of it.
func TestJavaScript(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		calls bool
		dir   string
	}{
		{"none", map[string]string{"a.csproj": webProject("net8.0")}, false, ""},
		{"beside it", map[string]string{"a.csproj": webProject("net8.0"), "package.json": "{}"}, false, "."},
		{"a command", map[string]string{"a.csproj": projectFile(sdkWeb, "net8.0", `<Target Name="x"><Exec WorkingDirectory="ClientApp" Command="npm ci" /></Target>`), "package.json": "{}"}, true, "."},
		{"the root of a SPA", map[string]string{"a.csproj": projectFile(sdkWeb, "net8.0", `<PropertyGroup><SpaRoot>ClientApp\</SpaRoot></PropertyGroup><Target Name="x"><Exec Command="yarn build" /></Target>`), "ClientApp/package.json": "{}"}, true, "ClientApp"},
		{"a project of JavaScript", map[string]string{"s/a.csproj": projectFile(sdkWeb, "net8.0", refers(`..\client\client.esproj`)), "client/client.esproj": "<Project/>", "client/package.json": "{}"}, true, "client"},
		{"another command", map[string]string{"a.csproj": projectFile(sdkWeb, "net8.0", `<Target Name="x"><Exec Command="dotnet tool restore" /></Target>`)}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := bptest.Tree(t, c.files)
			targets, err := findTargets(app, kit.Env{})
			if err != nil {
				t.Fatal(err)
			}
			if calls, dir := (&build{app: app, targets: targets}).javaScript(); calls != c.calls || dir != c.dir {
				t.Errorf("%v %q, want %v %q", calls, dir, c.calls, c.dir)
			}
		})
	}
}

// TestLibraries: ICU of Debian's is in a layer of the app's, and in the environment of the SDK.
func TestLibraries(t *testing.T) {
	bptest.Debian(t)
	m := mirror(t, allReleased[3:4], "")
	var out bytes.Buffer
	r := bptest.New(t, catalog.DotNet)
	r.Env[settingMirror] = m.url
	bp := testBuildpack(&out)
	bp.Libraries = packaged{}
	if _, err := r.Build(bp, map[string]string{"a.csproj": webProject("net8.0"), "Program.cs": says}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	version := ""
	for _, v := range r.LaunchEnv() {
		if value, ok := strings.CutPrefix(v, overrideVariable+"="); ok {
			version = value
		}
	}
	for _, v := range r.LaunchEnv() {
		name, value, _ := strings.Cut(v, "=")
		if name != "LD_LIBRARY_PATH" {
			continue
		}
		for dir := range strings.SplitSeq(value, ":") {
			if found, _ := filepath.Glob(filepath.Join(dir, "libicuuc.so."+version)); len(found) == 1 && version != "" {
				return
			}
		}
	}
	t.Errorf("ICU is not in the app's environment: %v", r.LaunchEnv())
}

// TestSingleProgram: what has its runtime within, or is compiled ahead of time, gets no runtime.
func TestSingleProgram(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "Shop"), "\x7fELF", 0o755)
	for _, c := range []struct {
		more string
		want int
	}{{"<PropertyGroup><PublishAot>true</PublishAot></PropertyGroup>", 0}, {"<PropertyGroup><PublishSingleFile>true</PublishSingleFile></PropertyGroup>", 1}} {
		app := bptest.Tree(t, map[string]string{"Shop.csproj": projectFile(sdkWeb, "net8.0", c.more)})
		p, err := readProject(app, "Shop.csproj")
		if err != nil {
			t.Fatal(err)
		}
		o, err := readOutput(dir, p)
		if err != nil || len(o.frameworks) != c.want || strings.Join(o.start, " ") != "./Shop" {
			t.Errorf("%s: %+v %v", c.more, o, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "Shop")); err != nil {
		t.Fatal(err)
	}
	p := &project{path: "Shop.csproj", properties: map[string]string{}}
	if _, err := readOutput(dir, p); err == nil || !strings.Contains(kit.Line(err), "there is no program in it") {
		t.Error(err)
	}
}
