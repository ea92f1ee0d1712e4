package node

import (
	"path/filepath"
	"slices"
	"strings"

	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/pattern"
)

func isTypeScript(file string) bool {
	return slices.Contains([]string{".ts", ".mts", ".cts"}, filepath.Ext(file))
}

// typeScriptFlags keep Node.js from warning of what is meant.
func typeScriptFlags(source string) []string {
	if !isTypeScript(source) {
		return nil
	}
	return []string{"--disable-warning=ExperimentalWarning", "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON"}
}

// bundled is the file that esbuild makes of a function in TypeScript, beside its source.
const bundled = ".gitd-function.mjs"

// scriptSource is the file that runs: of a function in TypeScript what the app's own build made of it, the source itself where Node.js can run that, else a
// bundle by esbuild.
func (b *build) scriptSource(f *functions.Found) (string, error) {
	source := f.Source
	if !isTypeScript(source) {
		return source, nil
	}
	if main := b.pkg.Main; b.pkg.HasBuild() && main != "" && kit.IsFile(b.app, main) && !isTypeScript(main) {
		return filepath.Clean(main), nil
	}
	why := b.needsBundle(f)
	if why == "" {
		kit.Say(b.Out, "%s runs as it is: Node.js %s takes the types away, and checks none", source, b.node.version)
		return source, nil
	}
	kit.Say(b.Out, "Bundling %s by esbuild, which checks no types (%s)", source, why)
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(tools, "function-esbuild")
	if err := mkdir(dir); err != nil {
		return "", err
	}
	if err := b.installLocked(dir, "typescript"); err != nil {
		return "", err
	}
	to := filepath.Join(filepath.Dir(source), bundled)
	argv := []string{"node", filepath.Join(dir, "node_modules/esbuild/bin/esbuild"), source, "--bundle", "--packages=external", "--platform=node", "--format=esm", "--sourcemap=inline", "--log-level=warning",
		"--target=node" + b.node.version, "--outfile=" + to}
	_, err = kit.Cmd{Args: argv, Dir: b.app, Env: b.env, Out: b.Out, Name: "esbuild " + source, Next: "correct the source, and push again"}.Run()
	return to, err
}

// stripping are the versions of Node.js that run TypeScript as it is.
const stripping = ">=22.18.0 <23.0.0 || >=23.6.0"

var relativeImport = pattern.New(`(?m)\b(?:from|import|require\()\s*['"](\.{1,2}/[^'"]+)['"]`)

// needsBundle says why Node.js cannot run a source in TypeScript; "" where it can.
func (b *build) needsBundle(f *functions.Found) string {
	if !inRange(stripping, b.node.version) {
		return "Node.js " + b.node.version + " does not run TypeScript"
	}
	if f.Contract == function.Lambda {
		return "the runtime of AWS Lambda loads JavaScript alone"
	}
	if strings.Contains(kit.Text(b.app, "tsconfig.json"), `"paths"`) {
		return "tsconfig.json has paths"
	}
	for _, m := range relativeImport.FindAllStringSubmatch(kit.Text(b.app, f.Source), 200) {
		if !kit.IsFile(b.app, filepath.Dir(f.Source), m[1]) {
			return "it imports " + m[1] + " without the ending of that file"
		}
	}
	check := "require('node:module').stripTypeScriptTypes(require('node:fs').readFileSync(process.argv[1], 'utf8'))"
	argv := []string{filepath.Join(filepath.Dir(b.node.exe), "node"), "--disable-warning=ExperimentalWarning", "-e", check, filepath.Join(b.app, f.Source)}
	if _, err := (kit.Cmd{Args: argv, Env: b.env, Out: &kit.Tail{Limit: 1 << 10}}).Output(); err != nil {
		return "it has syntax that is more than types"
	}
	return ""
}
