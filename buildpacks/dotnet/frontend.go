package dotnet

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/internal/pattern"
)

// callsNode finds a command of a project that runs Node.js or a package manager: <Exec Command="npm run build" />.
var callsNode = pattern.New(`Command\s*=\s*(?:"[^"]*|'[^']*)\b(?:npm|npx|yarn|pnpm|node|bun|corepack)\b`)

// frontend makes what the app has of JavaScript. Where its projects call Node.js, as the templates with React, Angular and Vue do, it is there for them;
// where nothing does, the build script of a package.json beside the app is run first.
func (b *build) frontend() error {
	calls, dir := b.javaScript()
	if !calls && dir == "" {
		return nil
	}
	folder := filepath.Join(b.app, dir)
	p, err := node.ReadPackage(folder)
	if errors.Is(err, fs.ErrNotExist) {
		p, err = &node.Package{}, nil
	}
	if err != nil {
		return err
	}
	if !calls && !p.HasBuild() {
		return nil
	}
	ctx := b.ctx
	ctx.Application.Path = folder
	a, err := node.OpenAssets(b.Out, ctx, b.cache, b.env)
	if err != nil || calls {
		return err
	}
	kit.Say(b.Out, "Building the front end (%s)", path.Join(dir, "package.json"))
	if err := a.Install(); err != nil {
		return err
	}
	return a.Build()
}

// javaScript tells whether the projects call Node.js, and which folder has the package.json that decides which.
func (b *build) javaScript() (calls bool, dir string) {
	dirs := []string{}
	for _, p := range append([]*project{b.targets.main}, b.targets.others...) {
		if root := p.property("sparoot"); root != "" {
			dirs = append(dirs, path.Join(path.Dir(p.path), strings.ReplaceAll(root, `\`, "/")))
		}
		for _, r := range p.references {
			if strings.HasSuffix(r, ".esproj") {
				calls, dirs = true, append(dirs, path.Dir(r))
			}
		}
		dirs = append(dirs, path.Dir(p.path))
	}
	for _, p := range b.targets.all {
		calls = calls || callsNode.MatchString(p.text)
	}
	for _, d := range append(dirs, ".") {
		if filepath.IsLocal(d) && kit.IsFile(b.app, d, "package.json") {
			return calls, d
		}
	}
	return calls, ""
}

// removeModules takes the packages away that a front end was built with, before the app's files are looked through.
func (b *build) removeModules() error {
	_, dir := b.javaScript()
	if dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(b.app, dir, "node_modules"))
}
