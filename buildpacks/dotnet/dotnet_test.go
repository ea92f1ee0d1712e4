package dotnet

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// server is what stands for a program of ASP.NET Core.
const server = `import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("v1 " + open("appsettings.json").read()).encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["ASPNETCORE_HTTP_PORTS"])), H).serve_forever()
`

func webProject(framework string) string {
	return `<Project Sdk="Microsoft.NET.Sdk.Web"><PropertyGroup><TargetFramework>` + framework + `</TargetFramework></PropertyGroup></Project>`
}

// today is when the mirror's lines are as they say.
var today = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func testBuildpack(out io.Writer) Buildpack {
	return Buildpack{Out: out, Libraries: noLibraries{}, now: func() time.Time { return today }}
}

// execScript returns what a script of exec.d gives to the launcher.
func execScript(t *testing.T, file string, env ...string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `"$0" 3>&1 >&2`, file)
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestBuild publishes a web app, starts it, and publishes it again with one file changed: the SDK is fetched once, and the runtime is taken from it.
func TestBuild(t *testing.T) {
	var out bytes.Buffer
	m := mirror(t, allReleased, "")
	r := bptest.New(t, catalog.DotNet)
	r.Env[settingMirror] = m.url
	files := map[string]string{"Shop.csproj": webProject("net8.0"), "Program.cs": server, "appsettings.json": "{}", "README.md": "x"}
	if passed, err := r.Detect(testBuildpack(&out), files); err != nil || !passed || !strings.Contains(out.String(), "gitd-detect: .NET (Shop.csproj, net8.0)") {
		t.Fatalf("detection: %v %v %s", passed, err, out.String())
	}
	built, err := r.Build(testBuildpack(&out), files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if got := m.fetched(); !slices.Equal(got, []string{"dotnet-sdk-8.0.423"}) {
		t.Errorf("fetched: %v", got)
	}
	p := built.Processes["web"]
	if p.Command != "dotnet" || !slices.Equal(p.Arguments, []string{"Shop.dll"}) || !p.Default {
		t.Fatalf("web: %+v", p)
	}
	if kit.Exists(r.App, "Shop.csproj") || kit.Exists(r.App, "README.md") || !kit.Exists(r.App, "Shop.dll") {
		t.Error("the wrong files are in the image")
	}
	if kit.Exists(r.Layers, "dotnet", "sdk") || !kit.Exists(r.Layers, "dotnet", "shared", aspnetApp) {
		t.Error("the layer is not the runtime")
	}
	port := bptest.Port(t)
	said := execScript(t, filepath.Join(r.Layers, "settings", "exec.d", "port"), "PORT="+port)
	if said != `ASPNETCORE_HTTP_PORTS = "`+port+"\"\n" {
		t.Errorf("the script says %q", said)
	}
	if said := execScript(t, filepath.Join(r.Layers, "settings", "exec.d", "port"), "PORT=1", "ASPNETCORE_URLS=http://*:5000"); said != "" {
		t.Errorf("the script says %q", said)
	}
	cmd := exec.Command("sh", "-c", "exec dotnet Shop.dll")
	cmd.Env = append(r.LaunchEnv(), "ASPNETCORE_HTTP_PORTS="+port)
	if got := bptest.Serve(t, r, cmd, port)("/"); got != "v1 {}" {
		t.Errorf("the app says %q", got)
	}
	sbom, err := os.ReadFile(filepath.Join(r.Layers, "dotnet.sbom.cdx.json"))
	if err != nil || !strings.Contains(string(sbom), "pkg:nuget/Dapper@2.1.35") || !strings.Contains(string(sbom), "dotnet-runtime@8.0.29") {
		t.Errorf("the bill of materials: %v %s", err, sbom)
	}

	out.Reset()
	files["Program.cs"] = strings.Replace(server, "v1", "v2", 1)
	if _, err := r.Build(testBuildpack(&out), files); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if got := m.fetched(); len(got) > 0 || strings.Contains(out.String(), "Fetching") {
		t.Errorf("fetched again: %v %s", got, out.String())
	}
	for _, layer := range []string{"dotnet", "settings"} {
		if !r.Reused(layer) {
			t.Errorf("the layer %s was made again", layer)
		}
	}
}
