package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// scripts of package managers, by package.
var managerScripts = map[string]string{"pnpm": "bin/pnpm.cjs", "yarn": "bin/yarn.js", "@yarnpkg/cli-dist": "bin/yarn.js"}

// wrap makes the package managers that a script can name programs: the app's own, and those that its scripts call beside it.
func (b *build) wrap() error {
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return err
	}
	b.programs = map[string]string{}
	if name := b.tool.program(); name != "npm" {
		b.programs[name] = b.tool.argv[1]
	}
	var all []string
	for _, s := range b.pkg.Scripts {
		all = append(all, s)
	}
	all = append(all, b.pkg.lines(b.app)...)
	for _, m := range []manager{{kind: "yarn", pkg: "yarn", want: "1"}, {kind: "pnpm", pkg: "pnpm", want: pnpmFor(b.node.version)}} {
		if b.programs[m.kind] == "" && calls(all, m.kind) {
			t, err := b.fetchTool(m)
			if err != nil {
				return err
			}
			b.programs[m.kind] = t.argv[1]
		}
	}
	// A folder for each set: builds of an app follow one another, and a set may differ from the last.
	dir := filepath.Join(tools, "bin")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for name, script := range b.programs {
		if err := writeWrapper(filepath.Join(dir, name), script); err != nil {
			return err
		}
	}
	if len(b.programs) > 0 {
		b.env.Prepend(dir)
	}
	return nil
}

// pnpmFor is the newest pnpm that runs on a Node.js.
func pnpmFor(node string) string {
	major, _, _ := strings.Cut(node, ".")
	switch {
	case slices.Contains([]string{"12", "13", "14", "15"}, major):
		return "7"
	case slices.Contains([]string{"16", "17"}, major):
		return "8"
	}
	return "9"
}

// writeWrapper makes a script a program. The setting is pnpm's own: npm complains of it, so that only pnpm gets it.
func writeWrapper(path, script string) error {
	if err := mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	setting := ""
	if filepath.Base(path) == "pnpm" {
		setting = "npm_config_manage_package_manager_versions=false " // the right one is running already
	}
	return os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\n%sexec node %s \"$@\"\n", setting, quote(script)), 0o755)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// runtimePrograms are the package managers that are called when the app runs.
func (b *build) runtimePrograms() (names []string) {
	lines := b.pkg.lines(b.app)
	if s := b.pkg.startScript(); s != "" { // started by what it leads to
		lines = slices.DeleteFunc(lines, func(l string) bool { return l == s })
		lines = append(lines, b.pkg.follow(s))
	}
	for _, name := range []string{"npm", "npx", "pnpm", "yarn"} {
		if calls(lines, name) {
			names = append(names, name)
		}
	}
	return names
}

// addManager puts a package manager into the layer of what the app needs when it runs.
func (b *build) addManager(layer, name string) error {
	script := b.programs[name]
	if script == "" {
		return nil
	}
	if strings.HasPrefix(script, b.app+"/") { // the app brings it along
		return writeWrapper(filepath.Join(layer, "bin", name), script)
	}
	root := script
	for filepath.Base(filepath.Dir(root)) != "node_modules" && !strings.HasPrefix(filepath.Base(filepath.Dir(root)), "@") {
		root = filepath.Dir(root)
	}
	rel, err := filepath.Rel(root, script)
	if err != nil {
		return err
	}
	to := filepath.Join(layer, "lib", name)
	if err := kit.CopyTree(root, to, nil); err != nil {
		return err
	}
	return writeWrapper(filepath.Join(layer, "bin", name), filepath.Join(to, rel))
}
