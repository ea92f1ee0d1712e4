package dotnet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestReason: what the SDK and NuGet print, and what is told of it.
func TestReason(t *testing.T) {
	app := t.TempDir()
	put(t, app+"/global.json", "{}", 0o644)
	b := &build{app: app, targets: targets{main: &project{path: "src/Shop.csproj"}}, sdk: sdk{component: component{Version: "8.0.423"}, root: "/sdk"}}
	for _, c := range []struct{ name, said, want string }{
		{"C#", "  Determining projects to restore...\nAPP/src/Program.cs(3,5): warning CS0168: x [APP/src/Shop.csproj]\nAPP/src/Program.cs(7,29): error CS1002: ; expected [APP/src/Shop.csproj]\nAPP/src/B.cs(1,1): error CS0246: B [APP/src/Shop.csproj]\n",
			"src/Program.cs:7:29: ; expected (CS1002)"},
		{"F#", "APP/Program.fs(2,9): error FS0039: The value or constructor 'x' is not defined. [APP/Shop.fsproj::TargetFramework=net8.0]\n", "Program.fs:2:9: The value or constructor 'x' is not defined. (FS0039)"},
		{"a range", "APP/Program.fs(2,9,2,12): error FS0039: no x. [APP/Shop.fsproj]\n", "Program.fs:2:9: no x. (FS0039)"},
		{"no place", "CSC : error CS5001: Program does not contain a static 'Main' method suitable for an entry point [APP/src/Shop.csproj]\n", "failed: Program does not contain a static 'Main' method suitable for an entry point (CS5001)"},
		{"Razor", "APP/Pages/Index.razor(3,1): error RZ9980: Unclosed tag 'div' with no matching end tag. [APP/Shop.csproj]\n", "Pages/Index.razor:3:1: Unclosed tag 'div'"},
		{"no package", "APP/Shop.csproj : error NU1101: Unable to find package Shop.Kit. No packages exist with this id in source(s): nuget.org [APP/Shop.csproj]\n",
			"there is no package Shop.Kit in nuget.org (NU1101); check its name"},
		{"no version", "APP/Shop.csproj : error NU1102: Unable to find package Dapper with version (>= 99.0.0)\nAPP/Shop.csproj : error NU1102:   - Found 60 version(s) in nuget.org [ Nearest version: 2.1.66 ] [APP/Shop.csproj]\n",
			"there is no package Dapper of version >= 99.0.0; the nearest is 2.1.66 (NU1102); ask for one that there is"},
		{"no network", "APP/Shop.csproj : error NU1301: Unable to load the service index for source https://api.example.org/v3/index.json. [APP/Shop.csproj]\n",
			"api.example.org cannot be reached for packages (NU1301); try again later, or set NUGET_MIRROR"},
		{"private", "APP/Shop.csproj : error NU1301: Unable to load the service index for source https://pkgs.example.org/index.json. [APP/Shop.csproj]\nAPP/Shop.csproj : error NU1301:   Response status code does not indicate success: 401 (Unauthorized).\n",
			"pkgs.example.org wants a name and a password (NU1301); give the build NuGetPackageSourceCredentials_NAME"},
		{"lock file", "APP/src/Shop.csproj : error NU1004: The package references have changed for net8.0. Lock file's package references: x [APP/src/Shop.csproj]\n",
			"packages.lock.json does not fit src/Shop.csproj (NU1004); run dotnet restore --force-evaluate"},
		{"downgrade", "APP/Shop.csproj : error NU1605: Warning As Error: Detected package downgrade: A from 2.0 to 1.0. Reference the package directly from the project to select a different version. [APP/Shop.csproj]\n",
			"Shop.csproj: Warning As Error: Detected package downgrade: A from 2.0 to 1.0."},
		{"too old", "/sdk/sdk/8.0.423/Sdks/Microsoft.NET.Sdk/targets/x.targets(166,5): error NETSDK1045: The current .NET SDK does not support targeting .NET 10.0.  Either target .NET 8.0 or lower, or use a version of the .NET SDK that supports .NET 10.0. [APP/Shop.csproj]\n",
			"the SDK 8.0.423, which global.json asks for, does not know .NET 10.0 (NETSDK1045)"},
		{"workload", "/sdk/x.targets(1,5): error NETSDK1147: To build this project, the following workloads must be installed: wasm-tools [APP/Shop.csproj]\n", "it needs the workload wasm-tools"},
		{"command", "APP/Shop.csproj(30,5): error MSB3073: The command \"npm run build\" exited with code 1. [APP/Shop.csproj]\n", "the project runs npm run build, which failed (exit status 1)"},
		{"no program", "APP/Shop.csproj(30,5): error MSB3073: The command \"gulp\" exited with code 127. [APP/Shop.csproj]\n", "the project runs gulp, and there is no such program (MSB3073)"},
		{"no SDK", "APP/Shop.csproj : error MSB4236: The SDK 'Uno.Sdk' specified could not be found. [APP/Shop.csproj]\n", "the project needs Uno.Sdk, which the SDK does not have"},
		{"flag", "MSBUILD : error MSB1001: Unknown switch.\nSwitch: --nope\n", "correct BP_DOTNET_PUBLISH_FLAGS"},
		{"no code", "APP/Shop.csproj(12,5): error : the app says no\n", "Shop.csproj:12:5: the app says no"},
		{"global.json", "The command could not be loaded, possibly because:\nA compatible .NET SDK was not found.\n\nRequested SDK version: 9.0.100\n", "the SDK 8.0.423 is not what global.json allows"},
		{"exception", "Unhandled exception: System.IO.IOException: No space left on device\n   at System.IO\n", "failed: No space left on device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reader{}
			said := strings.ReplaceAll(c.said, "APP", app)
			_, _ = fmt.Fprint(&kit.Lines{Do: r.line}, said)
			if got := kit.Line(b.reason(r, said, kit.Errorf("", "dotnet publish failed"))); !strings.Contains(got, c.want) {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}
