package node

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Assets makes what an app in another language has of JavaScript: it is for that language's buildpack. Nothing of it is in the image but what a build
// script writes.
type Assets struct{ b *build }

// OpenAssets is that of the buildpack with the paths of the build image.
func OpenAssets(out io.Writer, ctx libcnb.BuildContext, cache *kit.Cache, env kit.Env) (*Assets, error) {
	return New(out).OpenAssets(ctx, cache, env)
}

// OpenAssets puts Node.js and the app's package manager on the PATH of env. The app need not have a package.json.
func (bp Buildpack) OpenAssets(ctx libcnb.BuildContext, cache *kit.Cache, env kit.Env) (*Assets, error) {
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: env, cache: cache}
	var err error
	if b.pkg, err = ReadPackage(b.app); errors.Is(err, fs.ErrNotExist) {
		b.pkg, err = &Package{}, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := b.open(); err != nil {
		return nil, err
	}
	return &Assets{b}, nil
}

// Program is the app's node.
func (a *Assets) Program() string { return a.b.node.exe }

// HasBuild tells whether package.json has a build script.
func (a *Assets) HasBuild() bool { return a.b.pkg.HasBuild() }

// Install puts the packages into place, those for development too: tools for assets are most often listed there.
func (a *Assets) Install() error {
	b := a.b
	if !kit.Exists(b.app, "package.json") {
		return nil
	}
	if b.pkg.hooks() || b.root != b.app || b.pkg.local(b.app) {
		return b.install(true)
	}
	full, err := b.fullModules()
	if err != nil {
		return err
	}
	return os.Symlink(full, filepath.Join(b.app, "node_modules"))
}

// Build runs the build script.
func (a *Assets) Build() error { return a.b.runBuild() }

// Remove takes the packages away.
func (a *Assets) Remove() error { return os.RemoveAll(filepath.Join(a.b.app, "node_modules")) }

// Package returns the folder of a package of the registry, for a tool of the build. It is fetched once for an app; program and from name it where it cannot
// be had.
func (a *Assets) Package(pkg, version, program, from string) (string, error) {
	tools, err := a.b.cache.Dir("node-tools")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(tools, folderName(pkg+"@"+version))
	root := filepath.Join(dir, "node_modules", pkg)
	if kit.IsFile(root, "package.json") {
		return root, nil
	}
	kit.Say(a.b.Out, "Fetching %s %s", program, version)
	return root, a.b.fetchTo(dir, pkg, program, version, from)
}
