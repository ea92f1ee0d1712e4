package dotnet

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// project writes a project file: its SDK, framework, and further XML.
func projectFile(sdk, framework, more string) string {
	return `<Project Sdk="` + sdk + `"><PropertyGroup><TargetFramework>` + framework + `</TargetFramework></PropertyGroup>` + more + `</Project>`
}

const (
	sdkPlain = "Microsoft.NET.Sdk"
	sdkWeb   = "Microsoft.NET.Sdk.Web"
	exe      = "<PropertyGroup><OutputType>Exe</OutputType></PropertyGroup>"
)

func refers(to ...string) string {
	return `<ItemGroup><ProjectReference Include="` + strings.Join(to, `" /><ProjectReference Include="`) + `" /></ItemGroup>`
}

func needs(pkg string) string {
	return `<ItemGroup><PackageReference Include="` + pkg + `" /></ItemGroup>`
}

// TestChoose: which project is the app, why, and which further ones are published.
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		asked string
		want  string // path framework [+ others] [: why]
		err   string // a part of it
	}{
		{"one", map[string]string{"a.csproj": webProject("net8.0")}, "", "a.csproj net8.0", ""},
		{"F#", map[string]string{"src/a.fsproj": webProject("net9.0")}, "", "src/a.fsproj net9.0", ""},
		{"with tests and libraries", map[string]string{"s/Shop/Shop.csproj": projectFile(sdkWeb, "net8.0", refers(`..\Kit\Kit.csproj`)), "s/Kit/Kit.csproj": projectFile(sdkPlain, "net8.0", ""),
			"t/Shop.Tests/Shop.Tests.csproj": projectFile(sdkPlain, "net8.0", exe+needs("xunit.v3")), "b/Bench.csproj": projectFile(sdkPlain, "net8.0", exe+needs("BenchmarkDotNet"))}, "", "s/Shop/Shop.csproj net8.0", ""},
		{"a worker beside the web", map[string]string{"Web/Shop.csproj": webProject("net8.0"), "Work/Work.csproj": projectFile("Microsoft.NET.Sdk.Worker", "net8.0", "")}, "", "Web/Shop.csproj net8.0: the only web project", ""},
		{"and the Procfile starts both", map[string]string{"Web/Shop.csproj": webProject("net8.0"), "Work/Work.csproj": projectFile("Microsoft.NET.Sdk.Worker", "net8.0", ""), "Procfile": "web: dotnet Shop.dll\nworker: dotnet Work/Work.dll\n"}, "",
			"Web/Shop.csproj net8.0 + Work/Work.csproj: the Procfile starts it", ""},
		{"a hosted client", map[string]string{"Server/Server.csproj": projectFile(sdkWeb, "net8.0", refers(`..\Client\Client.csproj`)), "Client/Client.csproj": projectFile("Microsoft.NET.Sdk.BlazorWebAssembly", "net8.0", "")}, "",
			"Server/Server.csproj net8.0: the only web project", ""},
		{"one web of another", map[string]string{"A/A.csproj": webProject("net8.0"), "B/B.csproj": projectFile(sdkWeb, "net8.0", refers("../A/A.csproj"))}, "", "B/B.csproj net8.0: the web project that no other refers to", ""},
		{"by name", map[string]string{"Shop.Admin/Shop.Admin.csproj": webProject("net8.0"), "Shop.Web/Shop.Web.csproj": webProject("net8.0")}, "", "Shop.Web/Shop.Web.csproj net8.0: its name", ""},
		{"several", map[string]string{"One/One.csproj": webProject("net8.0"), "Two/Two.csproj": webProject("net8.0")}, "", "",
			"several projects could be the app: One/One.csproj, Two/Two.csproj; name the one that serves in BP_DOTNET_PROJECT_PATH, or start it in a Procfile"},
		{"asked, by its folder", map[string]string{"One/One.csproj": webProject("net8.0"), "Two/Two.csproj": webProject("net9.0")}, "Two", "Two/Two.csproj net9.0", ""},
		{"asked, several", map[string]string{"One/One.csproj": webProject("net8.0"), "Two/Two.csproj": webProject("net9.0")}, "Two One/One.csproj", "Two/Two.csproj net9.0 + One/One.csproj", ""},
		{"asked, none", map[string]string{"One/One.csproj": webProject("net8.0")}, "Three", "", "BP_DOTNET_PROJECT_PATH names Three, which has no project"},
		{"the Procfile's run", map[string]string{"One/One.csproj": webProject("net8.0"), "Two/Two.csproj": webProject("net8.0"), "Procfile": "web: dotnet run --project ./Two --no-launch-profile\n"}, "", "Two/Two.csproj net8.0: the Procfile starts it", ""},
		{"of the solution", map[string]string{"a.sln": `Project("{F}") = "Shop", "src\Shop\Shop.csproj", "{1}"`, "src/Shop/Shop.csproj": webProject("net8.0"), "samples/Web/Web.csproj": webProject("net8.0")}, "", "src/Shop/Shop.csproj net8.0", ""},
		{"of a solution in XML", map[string]string{"a.slnx": `<Solution><Project Path="src/Shop/Shop.csproj" /></Solution>`, "src/Shop/Shop.csproj": webProject("net8.0"), "samples/Web/Web.csproj": webProject("net8.0")}, "", "src/Shop/Shop.csproj net8.0", ""},
		{"properties above", map[string]string{"Directory.Build.props": `<Project><PropertyGroup><Net>net8.0</Net><TargetFramework>$(Net)</TargetFramework></PropertyGroup></Project>`, "s/a.csproj": `<Project Sdk="Microsoft.NET.Sdk.Web"></Project>`}, "", "s/a.csproj net8.0", ""},
		{"several frameworks", map[string]string{"a.csproj": `<Project Sdk="Microsoft.NET.Sdk.Web"><PropertyGroup><TargetFrameworks>net48;net8.0;net9.0-windows</TargetFrameworks></PropertyGroup></Project>`}, "", "a.csproj net8.0", ""},
		{"a condition", map[string]string{"a.csproj": `<Project Sdk="Microsoft.NET.Sdk.Web"><PropertyGroup><TargetFramework>net8.0</TargetFramework><TargetFramework Condition="'$(X)' == '1'">net6.0</TargetFramework></PropertyGroup></Project>`}, "", "a.csproj net8.0", ""},
		{"a program", map[string]string{"a.csproj": projectFile(sdkPlain, "net8.0", exe), "Lib/L.csproj": projectFile(sdkPlain, "net8.0", "")}, "", "a.csproj net8.0", ""},
		{"an app host of Aspire", map[string]string{"Shop.AppHost/Shop.AppHost.csproj": projectFile("Aspire.AppHost.Sdk/9.0.0", "net9.0", exe), "Shop/Shop.csproj": webProject("net9.0")}, "", "Shop/Shop.csproj net9.0", ""},
		{"libraries", map[string]string{"a.csproj": projectFile(sdkPlain, "net8.0", "")}, "", "", "no project of the app makes a program"},
		{".NET Framework", map[string]string{"a.csproj": `<Project ToolsVersion="15.0" xmlns="http://schemas.microsoft.com/developer/msbuild/2003"><PropertyGroup><OutputType>Library</OutputType><TargetFrameworkVersion>v4.7.2</TargetFrameworkVersion></PropertyGroup></Project>`}, "", "",
			"a.csproj is for .NET Framework 4.7.2, which runs on Windows alone; move it to a version such as net10.0"},
		{".NET Framework's name", map[string]string{"a.csproj": webProject("net48")}, "", "", "a.csproj is for .NET Framework (net48), which runs on Windows alone"},
		{"Windows", map[string]string{"a.csproj": projectFile(sdkPlain, "net8.0-windows10.0.19041", exe)}, "", "", "a.csproj is for windows alone: net8.0-windows10.0.19041"},
		{"a phone", map[string]string{"a.csproj": projectFile(sdkPlain, "net8.0-android", exe)}, "", "", "a.csproj is for android alone"},
		{"a standard", map[string]string{"a.csproj": projectFile(sdkPlain, "netstandard2.0", exe)}, "", "", "a.csproj targets netstandard2.0, which is for libraries"},
		{"no framework", map[string]string{"a.csproj": `<Project Sdk="Microsoft.NET.Sdk.Web" />`}, "", "", "a.csproj says no TargetFramework"},
		{"nonsense", map[string]string{"a.csproj": webProject("next")}, "", "", `a.csproj targets "next", which is no framework that is known here`},
		{"not XML", map[string]string{"a.csproj": "<Project><PropertyGroup></Project>"}, "", "", "a.csproj cannot be read"},
		{"deep", map[string]string{"a.csproj": strings.Repeat("<a>", 5000)}, "", "", "nested too deeply"},
		{"one file", map[string]string{"app.cs": "#:sdk Microsoft.NET.Sdk.Web\n#:package Dapper@2.*\nvar x = 1;\n"}, "", "app.cs net10.0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := bptest.Tree(t, c.files)
			got, err := findTargets(app, kit.Env{settingProject: c.asked})
			if c.err != "" {
				if err == nil || !strings.Contains(kit.Line(err), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := got.main.path + " " + got.framework.name
			for _, o := range got.others {
				text += " + " + o.path
			}
			if got.why != "" {
				text += ": " + got.why
			}
			if text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

// TestEvidence: what is an app of .NET.
func TestEvidence(t *testing.T) {
	for _, c := range []struct{ files, want string }{
		{"a.csproj", "a.csproj"}, {"a.vbproj", "a.vbproj"}, {"a.sln src/b/b.csproj", "a.sln"}, {"a.slnx b/b.fsproj", "a.slnx"}, {"src/b/b.csproj", "src/b/b.csproj"}, {"global.json src/b/b.csproj", "global.json"},
		{"a.sln b/b.vcxproj", ""}, {"package.json native/b.csproj", ""}, {"package.json a.csproj", "a.csproj"}, {"a.runtimeconfig.json a.dll", "a.runtimeconfig.json"}, {"a.runtimeconfig.json", ""},
		{"node_modules/x/b.csproj", ""}, {"index.html", ""}, {"a.cs", ""},
	} {
		files := map[string]string{}
		for f := range strings.FieldsSeq(c.files) {
			files[f] = ""
		}
		if got := Evidence(bptest.Tree(t, files)); got != c.want {
			t.Errorf("%s: %q, want %q", c.files, got, c.want)
		}
	}
}
