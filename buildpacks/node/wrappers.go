package node

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// wrap makes the package managers that a script can name programs: the app's own, and those that its scripts call beside it.
func (b *build) wrap() error {
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return err
	}
	b.programs = map[string]string{}
	if name := b.tool.program(); name != "npm" {
		b.programs[name] = b.tool.program1()
	}
	var all []string
	for _, s := range b.pkg.Scripts {
		all = append(all, s)
	}
	all = append(all, b.pkg.lines(b.app)...)
	for _, m := range []manager{{kind: "yarn", pkg: "yarn", want: "1"}, {kind: "pnpm", pkg: "pnpm", want: pnpmFor(b.node.version)}, {kind: "bun", pkg: bunPackage(), want: "1"}} {
		if b.programs[m.kind] == "" && (calls(all, m.kind) || m.kind == "bun" && calls(all, "bunx") || m.kind == "pnpm" && calls(all, "pnpx")) {
			t, err := b.fetchTool(m)
			if err != nil {
				return err
			}
			b.programs[m.kind] = t.program1()
		}
	}
	// A folder for each set: builds of an app follow one another, and a set may differ from the last.
	dir := filepath.Join(tools, "bin")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for name, script := range b.programs {
		if err := writeWrappers(dir, name, script); err != nil {
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

// program1 is the file of the package manager: a script of Node.js, or bun.
func (t tool) program1() string { return t.argv[len(t.argv)-1] }

// short are the programs that run a package's program, as pnpx does.
var short = map[string][2]string{"pnpm": {"pnpx", "dlx"}, "bun": {"bunx", "x"}}

// writeWrappers makes a package manager a program in a folder, and what is short for one of its commands.
func writeWrappers(dir, name, script string) error {
	if s, ok := short[name]; ok {
		line := fmt.Appendf(nil, "#!/bin/sh\nexec %s %s \"$@\"\n", kit.Quote(filepath.Join(dir, name)), s[1])
		if err := mkdir(dir); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s[0]), line, 0o755); err != nil {
			return err
		}
	}
	if name == "bun" {
		return os.Symlink(script, filepath.Join(dir, name))
	}
	return writeWrapper(filepath.Join(dir, name), script)
}

// writeWrapper makes a script a program. The setting is pnpm's own: npm complains of it, so that only pnpm gets it.
func writeWrapper(path, script string) error {
	setting := ""
	if filepath.Base(path) == "pnpm" {
		for _, name := range slices.Sorted(maps.Keys(pnpmAsItIs)) {
			setting += name + "=" + pnpmAsItIs[name] + " "
		}
	}
	return kit.WriteProgram(path, fmt.Sprintf("#!/bin/sh\n%sexec node %s \"$@\"\n", setting, kit.Quote(script)))
}

// runtimePrograms are the package managers that are called when the app runs.
func (b *build) runtimePrograms() (names []string) {
	lines := b.pkg.lines(b.app)
	if s := b.pkg.startScript(); s != "" { // started by what it leads to
		lines = slices.DeleteFunc(lines, func(l string) bool { return l == s })
		lines = append(lines, b.pkg.follow(s))
	}
	for _, name := range []string{"npm", "npx", "pnpm", "yarn", "bun"} {
		if calls(lines, name) || short[name][0] != "" && calls(lines, short[name][0]) || name == "bun" && b.startsByBun() || callsByItself(lines, name) {
			names = append(names, name)
		}
	}
	return names
}

// byThemselves finds what runs scripts by a package manager that it does not name: "concurrently npm:server npm:worker", "run-p server worker".
var byThemselves = pattern.New(`(?:^|[\s"'])(?:(npm|pnpm|yarn|bun):[\w*:-]+|npm-run-all2?\s|run-[ps]\s)`)

// callsByItself tells whether one of the lines runs a package manager in this way.
func callsByItself(lines []string, manager string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		m := byThemselves.FindStringSubmatch(line)
		return m != nil && (m[1] == manager || m[1] == "" && manager == "npm")
	})
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
	if name == "bun" {
		to := filepath.Join(layer, "lib", "bun")
		if err := kit.CopyFile(script, to); err != nil {
			return err
		}
		return writeWrappers(filepath.Join(layer, "bin"), name, to)
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
	natives, err := filepath.Glob(filepath.Join(filepath.Dir(root), "@pnpm", "exe.*")) // of pnpm 12 and later, found from its folder
	if err != nil {
		return err
	}
	for _, native := range natives {
		if err := kit.CopyTree(native, filepath.Join(to, "node_modules", "@pnpm", filepath.Base(native)), nil); err != nil {
			return err
		}
	}
	return writeWrappers(filepath.Join(layer, "bin"), name, filepath.Join(to, rel))
}
