package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Installing runs scripts of the app itself. They may write anywhere and read anything, so they run with each build; the packages, which
// are what takes the time, are installed without them and kept.

var (
	hooksBefore = []string{"preinstall"}
	hooksAfter  = []string{"install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"}
)

// hooks tells whether installing runs scripts of the app itself.
func (p *Package) hooks() bool {
	return slices.ContainsFunc(slices.Concat(hooksBefore, hooksAfter), func(s string) bool { return strings.TrimSpace(p.Scripts[s]) != "" })
}

// withoutHooks runs do while the app's package.json, and those of the other members of its workspace, have none of the scripts that an installation runs.
func (b *build) withoutHooks(do func() error) error {
	if b.rootPkg.hooks() {
		do = bare(b.root, b.rootPkg, do)
	}
	for _, m := range b.members {
		if m.pkg.hooks() {
			do = bare(filepath.Join(b.root, m.dir), m.pkg, do)
		}
	}
	return do()
}

// bare returns do with the folder's package.json without these scripts around it.
func bare(dir string, p *Package, do func() error) func() error {
	return func() error { return withoutScripts(dir, p, do) }
}

func withoutScripts(dir string, p *Package, do func() error) error {
	file := filepath.Join(dir, "package.json")
	was, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(kit.Text(file)), &all); err != nil {
		return err
	}
	scripts := map[string]string{}
	for name, s := range p.Scripts {
		if !slices.Contains(hooksBefore, name) && !slices.Contains(hooksAfter, name) {
			scripts[name] = s
		}
	}
	if all["scripts"], err = json.Marshal(scripts); err != nil {
		return err
	}
	bare, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, bare, 0o644); err != nil {
		return err
	}
	if err := do(); err != nil {
		_ = os.WriteFile(file, was, 0o644) // the build has failed already
		return err
	}
	return os.WriteFile(file, was, 0o644)
}

// runHooks runs those of the scripts that the app has, each as its package manager does.
func (b *build) runHooks(names []string) error { return b.runHooksIn(b.root, b.rootPkg, names) }

// runHooksIn runs them in one folder of a workspace.
func (b *build) runHooksIn(dir string, p *Package, names []string) error {
	env := b.env.Clone()
	env.Default("CI", "true") // as in the installation
	has := func(name string) bool {
		return slices.Contains(names, name) && strings.TrimSpace(p.Scripts[name]) != ""
	}
	around := b.tool.kind == "npm" || b.tool.kind == "yarn" // they run those before and after a script with it
	for _, name := range names {
		before, isBefore := strings.CutPrefix(name, "pre")
		after, isAfter := strings.CutPrefix(name, "post")
		switch {
		case !has(name):
		case around && (isBefore && has(before) || isAfter && has(after)):
		case b.tool.kind == "berry" && strings.Contains(name, "prep"): // yarn 2 and later run those of publishing only then
		default:
			if err := b.commandIn(dir, b.tool.run(name), env); err != nil {
				return err
			}
		}
	}
	return nil
}
