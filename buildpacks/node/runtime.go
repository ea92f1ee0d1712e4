package node

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// runtimeLayer has what the app needs of Node.js when it runs: the program, and npm where something calls it.
func (b *build) runtimeLayer() (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "node")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(b.app, "node_modules", ".bin")
	programs := b.runtimePrograms()
	withNPM := slices.Contains(programs, "npm") || slices.Contains(programs, "npx")
	key := kit.Key("6", b.node.version, bin, strings.Join(programs, " "), fmt.Sprint(b.programs, b.npm, b.pkg.has("fastify-cli")))
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return layer, err
	}
	if err := kit.CopyFile(b.node.exe, filepath.Join(layer.Path, "bin", "node")); err != nil {
		return nil, err
	}
	if err := addAtomic(b.node.exe, layer.Path); err != nil {
		return nil, err
	}
	if withNPM {
		if err := b.addNPM(layer); err != nil {
			return nil, err
		}
	}
	for _, name := range programs {
		if err := b.addManager(layer.Path, name); err != nil {
			return nil, err
		}
	}
	if slices.Contains(programs, "yarn") {
		layer.LaunchEnvironment.Default("YARN_ENABLE_TELEMETRY", "0")
	}
	layer.LaunchEnvironment.Default("NODE_ENV", "production")
	// Where frameworks' servers take localhost by themselves, they would not be reached.
	layer.LaunchEnvironment.Default("HOST", "0.0.0.0")
	if b.pkg.has("fastify-cli") {
		layer.LaunchEnvironment.Default("FASTIFY_ADDRESS", "0.0.0.0")
	}
	if option := b.heapOption(); option != "" {
		layer.LaunchEnvironment.Default("NODE_OPTIONS", option)
	} else if err := writeHeapScript(layer.Path); err != nil {
		return nil, err
	}
	if b.root != b.app {
		bin += ":" + filepath.Join(b.root, "node_modules", ".bin")
	}
	layer.LaunchEnvironment.Prepend("PATH", ":", bin)
	return layer, nil
}

// atomic is a library that Node.js is linked with from version 25 on, and that the build image has with its compilers; the run image lacks it.
const atomic = "libatomic.so.1"

// addAtomic puts that library into the layer, where the launcher has programs look for it.
func addAtomic(exe, layer string) error {
	program, err := elf.Open(exe)
	if err != nil {
		return nil // not a program by itself: what stands for Node.js in a test
	}
	defer program.Close()
	if needed, err := program.ImportedLibraries(); err != nil || !slices.Contains(needed, atomic) {
		return err
	}
	found, _ := filepath.Glob("/usr/lib/*/" + atomic) // a constant pattern: cannot fail
	if len(found) == 0 {
		return kit.Errorf("the builder image may be broken", "%s, which Node.js needs, is missing from the builder", atomic)
	}
	return kit.CopyFile(found[0], filepath.Join(layer, "lib", atomic))
}

// addNPM puts npm into the layer.
func (b *build) addNPM(layer *kit.Layer) error {
	lib := filepath.Join("lib", "node_modules", "npm")
	npm, err := filepath.EvalSymlinks(filepath.Join(b.Root, "bin", "npm"))
	if err != nil {
		return err
	}
	from := filepath.Dir(filepath.Dir(npm))
	if b.npm != "" {
		from = b.npm
	}
	if err := kit.CopyTree(from, filepath.Join(layer.Path, lib), nil); err != nil {
		return err
	}
	for _, name := range []string{"npm", "npx"} {
		if err := os.Symlink(filepath.Join("..", lib, "bin", name+"-cli.js"), filepath.Join(layer.Path, "bin", name)); err != nil {
			return err
		}
	}
	layer.LaunchEnvironment.Default("npm_config_cache", "/tmp/npm") // the root is read-only
	layer.LaunchEnvironment.Default("npm_config_update_notifier", "false")
	return nil
}
