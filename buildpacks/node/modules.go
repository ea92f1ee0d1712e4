package node

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/buildpacks/libcnb"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// inPlace installs into the app's folder, builds there, and takes the packages for development away.
func (b *build) inPlace() error {
	keep := b.keepsDevelopment()
	dev := b.pkg.HasBuild() || b.pkg.hooks() || keep || b.root != b.app
	if err := b.install(dev); err != nil {
		return err
	}
	if err := b.runBuild(); err != nil {
		return err
	}
	if !dev || keep || b.site || !b.developmentPackages() {
		return nil
	}
	return b.prune()
}

// prune takes the packages for development out of the app's node_modules.
func (b *build) prune() error {
	env := b.env.Clone()
	env["npm_config_ignore_scripts"] = "true"
	env.Default("CI", "true")
	return b.commandIn(b.root, b.tool.prune(), env)
}

// keepsDevelopment tells whether a package for development is needed when the app runs, and says so.
func (b *build) keepsDevelopment() bool {
	name := b.pkg.runsDevelopment(b.app)
	if name == "" {
		name = b.memberRunsDevelopment()
	}
	if name != "" && !b.saidKept {
		kit.Say(b.Out, "Keeping the development dependencies: the app is started by %s, which is one", name)
		b.saidKept = true
	}
	return name != ""
}

// layered keeps the packages in a layer of their own, which is left alone as long as the lock file is the same.
func (b *build) layered() (*kit.Layer, error) {
	modules := filepath.Join(b.app, "node_modules")
	keep := b.keepsDevelopment()
	var full string // a folder that has all packages, those for development too
	written := false
	if b.pkg.HasBuild() || b.pkg.hooks() || b.generates() || keep {
		if err := b.runHooks(hooksBefore); err != nil {
			return nil, err
		}
		var err error
		if full, err = b.fullModules(); err != nil {
			return nil, err
		}
		if written, err = b.buildWith(full, modules); err != nil {
			return nil, err
		}
	}
	if b.site {
		return nil, os.RemoveAll(modules)
	}
	layer, err := kit.OpenLayer(b.ctx, "modules")
	if err != nil {
		return nil, err
	}
	key := kit.Key(b.key, strconv.FormatBool(keep))
	inLayer := filepath.Join(layer.Path, "node_modules")
	if written {
		// What the build wrote among the packages is part of the app, and may differ each time.
		return layer, b.fillLayer(layer, "", func() error { return b.pruned(modules, inLayer, keep) }, modules, inLayer)
	}
	if err := os.RemoveAll(modules); err != nil {
		return nil, err
	}
	reuse, err := layer.Reuse(key)
	if err != nil {
		return nil, err
	}
	fill := func() error { return b.production(modules, inLayer) }
	switch {
	case reuse:
		kit.Say(b.Out, "Using cached dependencies")
		fill = nil
	case full != "" && (keep || len(b.pkg.DevDependencies) == 0):
		fill = func() error { return kit.CopyTree(full, inLayer, nil) }
	case full != "" && b.compiles(full):
		fill = func() error { return b.compiledOnce(full, modules, inLayer) }
	}
	return layer, b.fillLayer(layer, key, fill, modules, inLayer)
}

// generates tells whether an installation of the packages for development makes something that one without them does not.
func (b *build) generates() bool { return b.pkg.has("@prisma/client") }

// buildWith runs the app's own scripts of an installation and the build script with all packages in place, and tells whether they wrote among them.
func (b *build) buildWith(full, modules string) (written bool, err error) {
	// The note says what the last build did with these packages.
	note := filepath.Join(filepath.Dir(full), "written")
	last := kit.Text(note)
	// Next.js refuses packages that are outside of the app's folder. What Nuxt's modules look for, they look for in all that the app and its packages
	// have in common: that would be the whole file system, without an end. The cache's copy is for the next build, as it was installed.
	copied := b.pkg.has("next", "nuxt", "nuxt-nightly") || b.generates() || last == "yes" || last == "" && b.pkg.hooks()
	if copied {
		err = kit.CopyTree(full, modules, nil)
	} else {
		err = os.Symlink(full, modules)
	}
	if err != nil {
		return false, err
	}
	b.began = time.Now()
	if !copied { // the clock of files is coarser than that of processes
		b.began = b.began.Add(-20 * time.Millisecond)
	}
	if err := b.runHooks(hooksAfter); err != nil {
		return false, err
	}
	if err := b.runBuild(); err != nil {
		return false, err
	}
	if b.site && !copied || !b.pkg.HasBuild() && !b.pkg.hooks() && !b.generates() {
		return false, nil
	}
	target, err := filepath.EvalSymlinks(modules)
	if err != nil {
		return false, err
	}
	if written, err = changedSince(target, b.began); err != nil {
		return false, err
	}
	if info, err := os.Lstat(modules); err == nil && info.IsDir() && !copied { // npm has made a folder of the link: the build installs the packages itself
		written, copied = true, true
	}
	if err := os.WriteFile(note, []byte(kit.Pick(written, "yes", "no")), 0o644); err != nil {
		return false, err
	}
	if !written || copied {
		return written || b.generates(), nil
	}
	if err := os.Remove(modules); err != nil {
		return false, err
	}
	if err := kit.CopyTree(full, modules, nil); err != nil {
		return false, err
	}
	return true, os.RemoveAll(full)
}

// changedSince tells whether a file of a package was written after a moment: a generated client, for instance. What tools keep for themselves in
// hidden folders at the top does not count.
func changedSince(modules string, moment time.Time) (changed bool, err error) {
	caches := []string{".cache", ".vite", ".vite-temp", ".turbo", ".astro", ".nitro", ".nuxt", ".swc", ".angular", ".parcel-cache", ".rspack", ".unocss", ".tmp", ".bin", ".yarn-state.yml", ".package-lock.json", ".modules.yaml", ".yarn-integrity", ".pnpm-workspace-state.json", ".pnpm-workspace-state-v1.json"}
	err = filepath.WalkDir(modules, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != modules && slices.Contains(caches, d.Name()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.ModTime().After(moment) {
			changed = true
			return fs.SkipAll
		}
		return nil
	})
	return changed, err
}

// pruned moves the packages that the build changed into the layer, without those for development.
func (b *build) pruned(modules, inLayer string, keep bool) error {
	if !keep && len(b.pkg.DevDependencies) > 0 {
		kit.Say(b.Out, "The build wrote into node_modules: it is kept")
		if err := b.prune(); err != nil {
			return err
		}
	}
	return kit.Move(modules, inLayer)
}

// compiles tells whether packages were compiled when they were installed, which may take minutes. The package managers named here know afterwards what
// they compiled, or take it out of a cache of theirs.
func (b *build) compiles(modules string) bool {
	if b.tool.kind != "npm" && b.tool.kind != "yarn" {
		return false
	}
	for _, in := range []string{"*", "@*/*"} {
		if found, _ := filepath.Glob(filepath.Join(modules, in, "binding.gyp")); len(found) > 0 {
			return true
		}
	}
	return false
}

// compiledOnce takes the packages for development out of a copy: a second installation would compile a second time.
func (b *build) compiledOnce(full, modules, inLayer string) error {
	if err := kit.CopyTree(full, modules, nil); err != nil {
		return err
	}
	if err := b.withoutHooks(b.prune); err != nil {
		return err
	}
	return kit.Move(modules, inLayer)
}

// production installs what is needed to run the app.
func (b *build) production(modules, inLayer string) error {
	if err := b.withoutHooks(func() error { return b.install(false) }); err != nil {
		return err
	}
	if err := mkdir(modules); err != nil { // an app without dependencies
		return err
	}
	return kit.Move(modules, inLayer)
}

// fillLayer fills the layer unless fill is nil, and puts it in the place of the app's node_modules.
func (b *build) fillLayer(layer *kit.Layer, key string, fill func() error, modules, inLayer string) error {
	if fill != nil {
		if err := layer.Reset(libcnb.LayerTypes{Launch: true}, key); err != nil {
			return err
		}
		if err := fill(); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(modules); err != nil {
		return err
	}
	if err := os.Symlink(inLayer, modules); err != nil {
		return err
	}
	return kit.WriteSBOM(layer.Layer, b.packages())
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
		if notes := filepath.Join(dir, b.key[:32], "notes"); kit.IsDir(notes) {
			return full, kit.CopyTree(notes, b.root, nil)
		}
		return full, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Name() == b.key[:32] && kit.Exists(dir, e.Name(), "written") { // its packages were changed by the last build
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return "", err
		}
	}
	if err := b.withoutHooks(func() error { return b.install(true) }); err != nil {
		return "", err
	}
	modules := filepath.Join(b.app, "node_modules")
	if err := mkdir(modules); err != nil {
		return "", err
	}
	// Renamed at the end, so that a build that is stopped leaves nothing that looks complete.
	tmp := filepath.Join(dir, ".new")
	if err := kit.Move(modules, filepath.Join(tmp, "node_modules")); err != nil {
		return "", err
	}
	if err := mkdir(filepath.Dir(full)); err != nil {
		return "", err
	}
	for _, f := range b.installNotes() {
		if err := kit.CopyFile(filepath.Join(b.root, f), filepath.Join(dir, b.key[:32], "notes", f)); err != nil {
			return "", err
		}
	}
	return full, os.Rename(filepath.Join(tmp, "node_modules"), full)
}
