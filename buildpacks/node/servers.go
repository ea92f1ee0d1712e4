package node

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// frameworkServer is a program that serves what a framework has built, in a package of its own. An app that is made for another platform does not list it.
type frameworkServer struct {
	pkg     string
	version []string // the packages that have its version
	peer    string   // the package that it shares with the app; "" for none
}

var frameworkServers = map[string]frameworkServer{
	"remix-serve":        {"@remix-run/serve", []string{"@remix-run/node", "@remix-run/react"}, ""},
	"react-router-serve": {"@react-router/serve", []string{"react-router"}, "react-router"},
}

var (
	viteConfigs = []string{"vite.config.ts", "vite.config.js", "vite.config.mjs", "vite.config.mts", "react-router.config.ts", "react-router.config.js"}
	pagesAlone  = pattern.New(`(?m)^[^/\n]*\bssr["']?\s*:\s*false\b`)
)

// routed is the command that serves an app of Remix or React Router which names none; "" for other apps, and for those that are pages alone.
func (p *Package) routed(app string) string {
	line := ""
	switch build := p.follow(p.Scripts[p.BuildScript()]); {
	case p.has("@remix-run/dev") && strings.Contains(build, "remix vite:build"):
		line = "remix-serve ./build/server/index.js"
	case p.has("@react-router/dev") && strings.Contains(build, "react-router build"):
		line = "react-router-serve ./build/server/index.js"
	}
	for _, f := range viteConfigs {
		if line != "" && pagesAlone.MatchString(kit.Text(app, f)) {
			return ""
		}
	}
	return line
}

// noteServers notes the versions of the servers that go with the packages, while these are there: a layer that is taken over is not.
func (b *build) noteServers() {
	b.serverVersion = map[string]string{}
	for name, s := range frameworkServers {
		for _, pkg := range s.version {
			for _, dir := range []string{b.app, b.root} {
				b.serverVersion[name] = cmp.Or(b.serverVersion[name], moduleVersion(dir, pkg))
			}
		}
	}
}

// serverLayer has the server of a framework that the app starts and does not list; nil where it needs none.
func (b *build) serverLayer() (*kit.Layer, error) {
	name, _, _ := strings.Cut(programOf(b.pkg.follow(b.pkg.startScript())), " ")
	s, ok := frameworkServers[name]
	if !ok || b.pkg.has(s.pkg) || b.rootPkg.has(s.pkg) || procfile.HasWeb(b.app) {
		return nil, nil
	}
	version := b.serverVersion[name]
	if version == "" {
		return nil, nil
	}
	layer, err := kit.OpenLayer(b.ctx, "server")
	if err != nil {
		return nil, err
	}
	if reuse, err := layer.Renew(kit.Key("1", s.pkg, version, b.app)); err != nil || reuse {
		return layer, err
	}
	kit.Say(b.Out, "Installing %s %s (the app does not list it)", s.pkg, version)
	if err := b.npmInstall(layer.Path, s.pkg+"@"+version); err != nil {
		return nil, b.cannotHave(s.pkg, name, version, "the version of "+s.version[0])
	}
	if s.peer != "" { // the very one of the app: what it makes is compared with what the server makes
		if err := os.Symlink(filepath.Join(b.app, "node_modules", s.peer), filepath.Join(layer.Path, "node_modules", s.peer)); err != nil {
			return nil, err
		}
	}
	script, err := binOf(filepath.Join(layer.Path, "node_modules", s.pkg), name)
	if err != nil {
		return nil, err
	}
	return layer, kit.WriteProgram(filepath.Join(layer.Path, "bin", name), fmt.Sprintf("#!/bin/sh\nexec node %s \"$@\"\n", kit.Quote(script)))
}
