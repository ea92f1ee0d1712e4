package node

import (
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// inPlace installs into the app's folder, builds there, and removes the packages for development.
func (b *build) inPlace(site bool) error {
	dev := b.pkg.HasBuild() || b.pkg.hooks()
	if err := b.install(dev); err != nil {
		return err
	}
	if err := b.runBuild(); err != nil {
		return err
	}
	if !dev || site || len(b.pkg.DevDependencies) == 0 {
		return nil
	}
	env := b.env.Clone()
	env["npm_config_ignore_scripts"] = "true"
	return b.command(b.tool.prune(), env, "")
}

// layered keeps the packages in a layer of their own, which stays as it is as long as the lock file does.
func (b *build) layered(site bool) (*kit.Layer, error) {
	full := "" // a folder that has all packages, also those for development
	if b.pkg.HasBuild() {
		var err error
		if full, err = b.buildWithAll(); err != nil {
			return nil, err
		}
	}
	if site {
		return nil, nil
	}
	layer, err := kit.OpenLayer(b.ctx, "modules")
	if err != nil {
		return nil, err
	}
	if err := b.fillLayer(layer, full); err != nil {
		return nil, err
	}
	modules := filepath.Join(b.app, "node_modules")
	if err := os.RemoveAll(modules); err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(layer.Path, "node_modules"), modules); err != nil {
		return nil, err
	}
	return layer, kit.WriteSBOM(layer.Layer, b.packages())
}

// buildWithAll runs the build script with all packages, and returns the folder that has them.
func (b *build) buildWithAll() (full string, err error) {
	modules := filepath.Join(b.app, "node_modules")
	if full, err = b.fullModules(); err != nil {
		return "", err
	}
	if b.pkg.has("next") { // Next.js refuses packages outside of the app's folder
		err = kit.CopyTree(full, modules, nil)
	} else {
		err = os.Symlink(full, modules)
	}
	if err != nil {
		return "", err
	}
	if err := b.runBuild(); err != nil {
		return "", err
	}
	return full, os.RemoveAll(modules)
}

// fillLayer puts the packages that the app needs when it runs into the layer, unless they are there from the last build. They come from
// full where that has no others.
func (b *build) fillLayer(layer *kit.Layer, full string) error {
	if reuse, err := layer.Reuse(b.key); err != nil {
		return err
	} else if reuse {
		kit.Say(b.Out, "Using cached dependencies")
		return nil
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, b.key); err != nil {
		return err
	}
	inLayer := filepath.Join(layer.Path, "node_modules")
	if full != "" && len(b.pkg.DevDependencies) == 0 {
		return kit.CopyTree(full, inLayer, nil)
	}
	if err := b.install(false); err != nil {
		return err
	}
	modules := filepath.Join(b.app, "node_modules")
	if err := mkdir(modules); err != nil { // an app without dependencies
		return err
	}
	return kit.Move(modules, inLayer)
}

// fullModules returns a folder of the cache that has all packages, installing them if need be.
func (b *build) fullModules() (string, error) {
	dir, err := b.cache.Dir("node-full")
	if err != nil {
		return "", err
	}
	full := filepath.Join(dir, b.key[:32], "node_modules")
	if kit.IsDir(full) {
		kit.Say(b.Out, "Using cached dependencies")
		return full, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return "", err
		}
	}
	if err := b.install(true); err != nil {
		return "", err
	}
	modules := filepath.Join(b.app, "node_modules")
	if err := mkdir(modules); err != nil {
		return "", err
	}
	// Renamed at the end, so that an interrupted build leaves nothing that looks complete.
	tmp := filepath.Join(dir, ".new")
	if err := kit.Move(modules, filepath.Join(tmp, "node_modules")); err != nil {
		return "", err
	}
	return full, os.Rename(tmp, filepath.Dir(full))
}
