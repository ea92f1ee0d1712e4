package dotnet

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestGlobal: what the rules of rollForward lead to, of what there is.
func TestGlobal(t *testing.T) {
	have := []string{"11.0.100-preview.6.1", "10.0.302", "10.0.110", "9.0.316", "9.0.205", "9.0.118", "9.0.101", "8.0.423", "8.0.129"}
	for _, c := range []struct{ version, roll, want string }{
		{"9.0.101", "disable", "9.0.101"}, {"9.0.102", "disable", ""},
		{"9.0.101", "patch", "9.0.101"}, {"9.0.102", "patch", "9.0.118"},
		{"9.0.101", "latestpatch", "9.0.118"}, {"9.0.119", "latestpatch", ""}, {"8.0.100", "latestpatch", "8.0.129"}, {"8.0.200", "latestpatch", ""},
		{"8.0.200", "feature", "8.0.423"}, {"9.0.101", "feature", "9.0.118"}, {"9.0.150", "feature", "9.0.205"},
		{"9.0.101", "latestfeature", "9.0.316"}, {"9.0.400", "latestfeature", ""},
		{"8.0.500", "minor", ""}, {"8.0.500", "major", "9.0.118"}, {"8.0.100", "major", "8.0.129"}, {"7.0.100", "latestmajor", "10.0.302"}, {"10.0.400", "major", ""},
		{"11.0.100-preview.5.1", "latestpatch", "11.0.100-preview.6.1"},
	} {
		g := global{version: c.version, roll: c.roll, preview: strings.Contains(c.version, "-")}
		if got := g.choose(have); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.version, c.roll, got, c.want)
		}
	}
}

// TestReadGlobal: the file has comments, and its slips are told.
func TestReadGlobal(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{"// our own\n{ \"sdk\": { /* pinned */ \"version\": \"9.0.100\", \"rollForward\": \"latestFeature\", } }", "9.0.100 latestfeature", ""},
		{"\ufeff{\"sdk\": {\"version\": \"9.0.100\"}}", "9.0.100 latestpatch", ""},
		{`{"msbuild-sdks": {"x": "1"}}`, " ", ""}, {`{"sdk": {"allowPrerelease": true}}`, " ", ""}, {`{"url": "http://x/*y*/"}`, " ", ""},
		{`{"sdk": {"version": "9.0"}}`, "", `global.json asks for the SDK "9.0", which is not a version of it; write a whole version`},
		{`{"sdk": {"version": "9.0.100", "rollForward": "newest"}}`, "", `global.json has rollForward "newest", which the SDK does not know`},
		{`{"sdk": `, "", "global.json cannot be read"}, {`{"sdk": "9.0.100"}`, "", "global.json cannot be read"}, {"{/*", "", "global.json cannot be read"},
	} {
		g, err := readGlobal(bptest.Tree(t, map[string]string{globalFile: c.text}))
		if got := g.version + " " + g.roll; c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %q %v, want %q", c.text, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(kit.Line(err), c.err)) {
			t.Errorf("%s: %v, want %s", c.text, err, c.err)
		}
	}
}

// TestSDK: which SDK and runtime an app gets from a mirror, what is fetched for that, and what is said where there is none.
func TestSDK(t *testing.T) {
	good, damaged, runtimeDamaged := mirror(t, allReleased, ""), mirror(t, allReleased[3:4], "dotnet-sdk-"), mirror(t, allReleased[3:4], "core-runtime-")
	for _, c := range []struct {
		name      string
		framework string
		global    string
		mirror    string
		fetched   string // the archives
		said      string
		err       string // a part of it
	}{
		{"of the framework's line", "net9.0", "", good.url, "dotnet-sdk-9.0.316", "ASP.NET Core runtime 9.0.18", ""},
		{"pinned to one with an older runtime", "net8.0", `{"sdk": {"version": "8.0.100", "rollForward": "disable"}}`, good.url, "dotnet-sdk-8.0.100 aspnetcore-runtime-8.0.29", ".NET SDK 8.0.100", ""},
		{"pinned, with another band", "net8.0", `{"sdk": {"version": "8.0.101"}}`, good.url, "dotnet-sdk-8.0.129 aspnetcore-runtime-8.0.29", ".NET SDK 8.0.129 (global.json asks for 8.0.101, latestpatch)", ""},
		{"a newer SDK", "net8.0", `{"sdk": {"version": "10.0.100", "rollForward": "latestMinor"}}`, good.url, "dotnet-sdk-10.0.302 aspnetcore-runtime-8.0.29", "", ""},
		{"a preview", "net11.0", "", good.url, "dotnet-sdk-11.0.100-preview.6.1", "", ""},
		{"without fixes", "net6.0", "", good.url, "dotnet-sdk-6.0.428", "Warning: .NET 6.0 gets no fixes any more since 2024-11-12: target a newer one", ""},
		{"too old", "netcoreapp3.1", "", good.url, "dotnet-sdk-10.0.302", "the app runs on .NET 10.0; target net10.0", ""},
		{"no such line", "net42.0", "", good.url, "", "", "Shop.csproj targets net42.0, which does not exist; target one of these: net11.0, net10.0, net9.0, net8.0, net6.0"},
		{"no such SDK", "net8.0", `{"sdk": {"version": "8.0.500"}}`, good.url, "", "", "global.json asks for the SDK 8.0.500 (rollForward latestpatch), which does not exist; ask for one of these, or for an older one with rollForward latestFeature: 8.0.423, 8.0.129"},
		{"no such line of SDKs", "net8.0", `{"sdk": {"version": "7.0.100"}}`, good.url, "", "", "global.json asks for the SDK 7.0.100, and there is no .NET 7.0"},
		{"an SDK too old", "netcoreapp3.1", `{"sdk": {"version": "3.1.426"}}`, good.url, "", "", "global.json asks for the SDK 3.1.426, which needs OpenSSL 1.1 and does not run here; ask for a newer one, such as 10.0.100"},
		{"damaged", "net8.0", "", damaged.url, "", "", "does not have the digest that its index says"},
		{"a damaged runtime", "net8.0", `{"sdk": {"version": "8.0.100", "rollForward": "disable"}}`, runtimeDamaged.url, "", "", "does not have the digest that its index says"},
		{"no server", "net8.0", "", "http://127.0.0.1:1", "", "", ".NET cannot be had: 127.0.0.1 cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused; let builds reach it, set DOTNET_MIRROR for the server to a mirror, or push what dotnet publish --self-contained"},
		{"no mirror of it", "net8.0", "", good.url + "/other", "", "", "see what DOTNET_MIRROR names"},
		{"no address", "net8.0", "", "mirror.example.org", "", "", "is not an address of the web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			good.fetched()
			r := bptest.New(t, catalog.DotNet)
			r.Env[settingMirror] = c.mirror
			files := map[string]string{"Shop.csproj": webProject(c.framework), "Program.cs": server, "appsettings.json": "{}"}
			if c.global != "" {
				files[globalFile] = c.global
			}
			_, err := r.Build(testBuildpack(&out), files)
			if c.err != "" {
				if err == nil || !strings.Contains(kit.Line(err), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if got := strings.Join(good.fetched(), " "); got != c.fetched {
				t.Errorf("fetched: %s, want %s", got, c.fetched)
			}
			if !strings.Contains(out.String(), c.said) {
				t.Errorf("it says %s, want %s", out.String(), c.said)
			}
			if kit.Exists(r.Env["BP_CACHE_MOUNT"], "dotnet-sdk", "templates") {
				t.Error("the SDK has its templates")
			}
		})
	}
}
