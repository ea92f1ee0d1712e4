package node

import (
	_ "embed" // the program that looks at sources
	"path/filepath"
	"slices"
	"strings"

	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
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
	if made := b.madeOf(source); made != "" {
		kit.Say(b.Out, "%s runs as the build made it: %s", source, made)
		return made, nil
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

// madeOf is the file that the app's build made of a source: main of package.json, or where its compiler writes; "" for none.
func (b *build) madeOf(source string) string {
	if !b.pkg.HasBuild() {
		return ""
	}
	files := []string{b.pkg.Main}
	if dir := outDir.FindStringSubmatch(kit.Text(b.app, "tsconfig.json")); dir != nil {
		base := strings.TrimSuffix(source, filepath.Ext(source))
		_, below, _ := strings.Cut(base, "/") // the compiler leaves out the folder that all sources have in common
		for _, name := range []string{base, below} {
			files = append(files, filepath.Join(dir[1], name+".js"), filepath.Join(dir[1], name+".mjs"), filepath.Join(dir[1], name+".cjs"))
		}
	}
	for _, f := range files {
		if f != "" && kit.IsFile(b.app, f) && !isTypeScript(f) {
			return filepath.Clean(f)
		}
	}
	return ""
}

// stripping are the versions of Node.js that run TypeScript as it is.
const stripping = ">=22.18.0 <23.0.0 || >=23.6.0"

// strips says of a source in TypeScript, and of those that it imports, why Node.js cannot run it as it is; nothing where it can.
//
//go:embed strips.cjs
var strips string

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
	argv := []string{filepath.Join(filepath.Dir(b.node.exe), "node"), "--disable-warning=ExperimentalWarning", "-e", strips, f.Source}
	why, err := kit.Cmd{Args: argv, Dir: b.app, Env: b.env, Out: &kit.Tail{Limit: 1 << 10}}.Output()
	if err != nil {
		return "it cannot be read by Node.js"
	}
	return strings.TrimSpace(string(why))
}
