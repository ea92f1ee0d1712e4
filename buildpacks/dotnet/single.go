package dotnet

import (
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// singleFramework is what a program in one file targets that does not say so: the first version that knows such programs.
const singleFramework = "net10.0"

var directive = pattern.New(`(?m)^#:(sdk|package|property)\s+([^\s@=]+)(?:[@=\s]+(\S+))?`)

// singleFile finds a program in one file at the root of the app, which has its project within: "#:sdk Microsoft.NET.Sdk.Web". "" for none.
func singleFile(app string) string {
	found, _ := filepath.Glob(filepath.Join(app, "*.cs")) // a constant pattern but for the app's folder
	for _, f := range found {
		text := kit.Text(f)
		if len(text) < maxProject && (directive.MatchString(text) || strings.HasPrefix(text, "#!") && strings.Contains(kit.First(text), "dotnet")) {
			return filepath.Base(f)
		}
	}
	return ""
}

// readSingle reads a program in one file as a project. Such programs are compiled ahead of time unless they say otherwise, by compilers that the build does
// not have.
func readSingle(app, file string) *project {
	p := &project{path: file, sdk: "microsoft.net.sdk", single: true, text: kit.Text(app, file), properties: map[string]string{"outputtype": "Exe", "targetframework": singleFramework, "publishaot": "false"}}
	for _, m := range directive.FindAllStringSubmatch(p.text, 200) {
		switch m[1] {
		case "sdk":
			p.addSDK(m[2])
		case "package":
			p.packages = append(p.packages, strings.ToLower(m[2]))
		case "property":
			p.set(m[2], m[3], false)
		}
	}
	return p
}
