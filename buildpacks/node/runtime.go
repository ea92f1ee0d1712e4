package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// runtimeLayer holds what the app needs of Node.js when it runs: the program, and npm where something calls it.
func (b *build) runtimeLayer() (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "node")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(b.app, "node_modules", ".bin")
	withNPM := b.callsNPM()
	key := kit.Key("1", b.node.version, bin, pick(withNPM, "npm", ""))
	if reuse, err := layer.Reuse(key); err != nil || reuse {
		return layer, err
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, key); err != nil {
		return nil, err
	}
	if err := kit.CopyFile(b.node.exe, filepath.Join(layer.Path, "bin", "node")); err != nil {
		return nil, err
	}
	if withNPM {
		lib := filepath.Join("lib", "node_modules", "npm")
		npm, err := filepath.EvalSymlinks(filepath.Join(b.Root, "bin", "npm"))
		if err != nil {
			return nil, err
		}
		if err := kit.CopyTree(filepath.Dir(filepath.Dir(npm)), filepath.Join(layer.Path, lib), nil); err != nil {
			return nil, err
		}
		for _, name := range []string{"npm", "npx"} {
			if err := os.Symlink(filepath.Join("..", lib, "bin", name+"-cli.js"), filepath.Join(layer.Path, "bin", name)); err != nil {
				return nil, err
			}
		}
		layer.LaunchEnvironment.Default("npm_config_cache", "/tmp/npm") // the root is read-only
		layer.LaunchEnvironment.Default("npm_config_update_notifier", "false")
	}
	layer.LaunchEnvironment.Default("NODE_ENV", "production")
	layer.LaunchEnvironment.Prepend("PATH", ":", bin)
	return layer, nil
}

// callsNPM tells whether npm or npx is called when the app runs.
func (b *build) callsNPM() bool {
	lines := []string{b.command0(b.pkg.startScript())}
	procs, _ := procfile.Read(b.app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		lines = append(lines, p.Command)
	}
	return slices.ContainsFunc(lines, func(l string) bool {
		return slices.ContainsFunc(strings.Fields(l), func(w string) bool { return w == "npm" || w == "npx" })
	})
}
