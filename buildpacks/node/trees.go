package node

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// The packages of a workspace are in the folders node_modules of its root and of its members. They are kept together, in the app's cache and in a
// layer, in folders that have the same places as in the workspace.

// treesName is the entry of the layer's metadata that lists its folders.
const treesName = "trees"

// workspace installs the packages of a workspace, or takes those of the last build, builds the app, and moves its packages into a layer.
func (b *build) workspace() (*kit.Layer, error) {
	key := b.workspaceKey()
	keep := b.keepsDevelopment()
	if err := b.removeModules(); err != nil { // committed ones
		return nil, err
	}
	if err := b.runHooks(hooksBefore); err != nil {
		return nil, err
	}
	if err := b.fillTrees(key); err != nil {
		return nil, err
	}
	b.began = time.Now()
	ofMembers := hooksAfter
	if b.tool.kind == "yarn" {
		ofMembers = []string{"install", "postinstall"} // it runs the others for the root alone
	}
	for _, m := range b.members {
		if err := b.runHooksIn(filepath.Join(b.root, m.dir), m.pkg, ofMembers); err != nil {
			return nil, err
		}
	}
	if err := b.runHooks(hooksAfter); err != nil {
		return nil, err
	}
	if err := b.runBuild(); err != nil {
		return nil, err
	}
	if b.site {
		return nil, nil
	}
	return b.treesLayer(key, keep)
}

// fillTrees puts the packages into place: from the app's cache, else by an installation that is kept there.
func (b *build) fillTrees(key string) error {
	dir, err := b.cache.Dir("node-full")
	if err != nil {
		return err
	}
	kept := filepath.Join(dir, key[:32])
	if kit.IsDir(kept) {
		kit.Say(b.Out, "Using cached dependencies")
		return kit.CopyTree(kept, b.root, nil)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := b.withoutHooks(func() error { return b.install(true) }); err != nil {
		return err
	}
	trees, err := b.trees()
	if err != nil {
		return err
	}
	trees = append(trees, b.installNotes()...)
	// Renamed at the end, so that a build that is stopped leaves nothing that looks complete.
	tmp := filepath.Join(dir, ".new")
	if err := mkdir(tmp); err != nil {
		return err
	}
	for _, tree := range trees {
		if err := kit.CopyTree(filepath.Join(b.root, tree), filepath.Join(tmp, tree), nil); err != nil {
			return err
		}
	}
	return os.Rename(tmp, kept)
}

// installNotes are the files that an installation by yarn 2 and later leaves beside node_modules, and without which it runs no script.
func (b *build) installNotes() (files []string) {
	if b.tool.kind != "berry" {
		return nil
	}
	for _, f := range []string{".yarn/install-state.gz", kit.Pick(b.tool.lock == "", "yarn.lock", "")} {
		if f != "" && kit.IsFile(b.root, f) {
			files = append(files, f)
		}
	}
	return files
}

// trees lists the folders node_modules of the workspace.
func (b *build) trees() (trees []string, err error) {
	err = filepath.WalkDir(b.root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if d.Name() == "node_modules" {
			rel, err := filepath.Rel(b.root, file)
			if err != nil {
				return err
			}
			trees = append(trees, rel)
			return fs.SkipDir
		}
		if d.Name() == ".git" {
			return fs.SkipDir
		}
		return nil
	})
	return trees, err
}

// removeModules takes the packages away, of all members.
func (b *build) removeModules() error {
	dirs := []string{b.app}
	for _, m := range b.folders() {
		dirs = append(dirs, filepath.Join(b.root, m.dir))
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
			return err
		}
	}
	return nil
}

// treesLayer moves the packages into a layer, without those for development, and leaves links to it. The layer of the last build is taken over where
// the packages are the same.
func (b *build) treesLayer(key string, keep bool) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "modules")
	if err != nil {
		return nil, err
	}
	trees, err := b.trees()
	if err != nil {
		return nil, err
	}
	written := false
	for _, tree := range trees {
		changed, err := changedSince(filepath.Join(b.root, tree), b.began)
		if err != nil {
			return nil, err
		}
		written = written || changed
	}
	key = kit.Key(key, kit.Pick(keep, "all", "production"), layer.Path)
	if written { // what the build wrote among the packages is part of the app, and may differ each time
		key = ""
	}
	if last := listOf(layer.Metadata[treesName]); key != "" && last != nil {
		if reuse, err := layer.Reuse(key); err != nil || reuse {
			if err != nil {
				return nil, err
			}
			return layer, b.linkTrees(trees, last, layer.Path)
		}
	}
	if !keep && b.developmentPackages() {
		if written {
			kit.Say(b.Out, "The build wrote into node_modules: it is kept")
		}
		if err := b.pruneTrees(written); err != nil {
			return nil, err
		}
		if trees, err = b.trees(); err != nil {
			return nil, err
		}
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, key); err != nil {
		return nil, err
	}
	layer.Metadata[treesName] = trees
	if err := b.moveTrees(trees, layer.Path); err != nil {
		return nil, err
	}
	return layer, kit.WriteSBOM(layer.Layer, b.packages())
}

// pruneTrees takes the packages for development away. bun takes nothing away: what it installed is installed again, but not where the build wrote into it.
func (b *build) pruneTrees(written bool) error {
	if b.tool.kind == "bun" {
		if written {
			return nil
		}
		if err := b.removeModules(); err != nil {
			return err
		}
	}
	return b.prune()
}

// listOf is a list of strings of a layer's metadata.
func listOf(v any) (list []string) {
	all, _ := v.([]any)
	for _, one := range all {
		if s, ok := one.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// linkTrees replaces the folders by links to those of the layer.
func (b *build) linkTrees(trees, last []string, layer string) error {
	for _, tree := range trees {
		if err := os.RemoveAll(filepath.Join(b.root, tree)); err != nil {
			return err
		}
	}
	for _, tree := range last {
		at := filepath.Join(b.root, tree)
		if err := mkdir(filepath.Dir(at)); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(layer, tree), at); err != nil {
			return err
		}
	}
	return nil
}

// moveTrees moves the folders into the layer, and leaves links to it. Links to members of the workspace are made absolute: they stay where they are.
func (b *build) moveTrees(trees []string, layer string) error {
	for _, tree := range trees {
		if err := b.pinLinks(tree, trees); err != nil {
			return err
		}
		if err := kit.Move(filepath.Join(b.root, tree), filepath.Join(layer, tree)); err != nil {
			return err
		}
	}
	return b.linkTrees(nil, trees, layer)
}

// pinLinks makes the links of a folder that lead out of all of these folders absolute.
func (b *build) pinLinks(tree string, trees []string) error {
	return filepath.WalkDir(filepath.Join(b.root, tree), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(file)
		if err != nil || filepath.IsAbs(target) {
			return err
		}
		to := filepath.Join(filepath.Dir(file), target)
		inside := slices.ContainsFunc(trees, func(t string) bool { return strings.HasPrefix(to, filepath.Join(b.root, t)+"/") })
		if inside {
			return nil
		}
		if err := os.Remove(file); err != nil {
			return err
		}
		return os.Symlink(to, file)
	})
}
