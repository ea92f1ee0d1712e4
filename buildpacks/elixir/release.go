package elixir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// assemble makes the release, and takes out of the app's folder what only the build read. An app whose Procfile starts mix, and an umbrella without a
// release, keeps all, and gets Elixir in a layer.
func (b *build) assemble() error {
	name, err := b.project.releaseName()
	if err != nil {
		return err
	}
	if b.startsMix() {
		name = ""
	}
	if name == "" {
		return b.keepMix()
	}
	made := filepath.Join(b.app, ".gitd-release", name)
	if err := b.cookie(made, name, true); err != nil {
		return err
	}
	args := []string{"mix", "release", "--path", made, "--overwrite", "--quiet"}
	if len(b.project.releases) > 0 { // mix has no name for the one that it makes by itself
		args = append(args, name)
	}
	if err := b.run(args...); err != nil {
		return err
	}
	if err := b.cookie(made, name, false); err != nil {
		return err
	}
	b.release = filepath.Join("_build", b.env["MIX_ENV"], "rel", name)
	if err := b.strip(); err != nil {
		return err
	}
	if err := kit.Move(made, filepath.Join(b.app, b.release)); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(b.app, ".gitd-release")); err != nil {
		return err
	}
	b.divide()
	return nil
}

// startsMix tells whether the Procfile starts a process by a program that is not in a release.
func (b *build) startsMix() bool {
	for _, p := range b.processes() {
		for _, program := range []string{"mix", "elixir", "iex", "erl"} {
			if p.Names(program) {
				return true
			}
		}
	}
	return false
}

// cookie keeps the cookie of a release from build to build: mix makes one at random, and the image would differ each time.
func (b *build) cookie(made, name string, restore bool) error {
	in, kept := filepath.Join(made, "releases", "COOKIE"), filepath.Join(b.work, "cookie-"+name)
	if !restore {
		return kit.CopyFile(in, kept)
	}
	if !kit.IsFile(kept) {
		return nil
	}
	return kit.CopyFile(kept, in)
}

// strip takes out sources and what was compiled; files that the app may read stay.
func (b *build) strip() error {
	for _, link := range []string{"_build", "deps"} {
		if err := os.RemoveAll(filepath.Join(b.app, link)); err != nil {
			return err
		}
	}
	return kit.Prune(b.app, func(rel string, d fs.DirEntry) bool {
		if d.IsDir() {
			return rel == "test" || rel == "assets" || d.Name() == "node_modules" || rel == ".elixir_ls" || strings.HasSuffix(rel, "priv/static")
		}
		switch filepath.Ext(rel) {
		case ".ex", ".exs", ".erl", ".hrl", ".heex", ".eex", ".leex":
			return !strings.HasPrefix(rel, ".gitd-release")
		}
		return d.Name() == "mix.lock" || d.Name() == ".formatter.exs"
	})
}

// divide makes image layers of Erlang, Elixir and the packages, which a change of the app leaves alone.
func (b *build) divide() {
	entries, _ := os.ReadDir(filepath.Join(b.app, b.release, "lib")) // an empty one has nothing to divide
	var paths []string
	for _, e := range entries {
		name := e.Name()[:max(0, strings.LastIndexByte(e.Name(), '-'))]
		if name != b.project.app && !kit.IsDir(b.app, "apps", name) {
			paths = append(paths, filepath.Join(b.release, "lib", e.Name(), "**"))
		}
	}
	found, _ := filepath.Glob(filepath.Join(b.app, b.release, "erts-*")) // a constant pattern but for the app's folder
	for _, f := range found {
		paths = append(paths, filepath.Join(b.release, filepath.Base(f), "**"))
	}
	if len(paths) > 0 {
		b.slices = append(b.slices, libcnb.Slice{Paths: paths})
	}
}

// keepMix puts Elixir into a layer, and what was compiled into the app's folder.
func (b *build) keepMix() error {
	layer, err := kit.OpenLayer(b.ctx, "elixir")
	if err != nil {
		return err
	}
	b.request.Launch = true
	set, _, err := b.tool.Layer(layer, libcnb.LayerTypes{Launch: true}, b.request)
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	if err := kit.WriteSBOM(layer.Layer, set.SBOM()); err != nil {
		return err
	}
	for _, name := range []string{"_build", "deps"} {
		link := filepath.Join(b.app, name)
		target, err := os.Readlink(link)
		if err != nil {
			continue // the app has it
		}
		if err := os.Remove(link); err != nil {
			return err
		}
		skip := func(rel string) bool {
			return name == "_build" && rel != b.env["MIX_ENV"] && !strings.HasPrefix(rel, b.env["MIX_ENV"]+"/")
		}
		if err := kit.CopyTree(target, link, skip); err != nil {
			return err
		}
	}
	return b.turnLinks()
}

// turnLinks makes the links in what was compiled, which lead into the cache, lead into the app's folder.
func (b *build) turnLinks() error {
	lib := filepath.Join(b.app, "_build", b.env["MIX_ENV"], "lib")
	found, _ := filepath.Glob(filepath.Join(lib, "*", "*")) // a constant pattern but for the app's folder
	for _, link := range found {
		target, err := os.Readlink(link)
		if err != nil || filepath.IsAbs(target) {
			continue
		}
		rel, err := filepath.Rel(lib, link)
		if err != nil {
			return err
		}
		at := filepath.Join(b.work, "_build", b.env["MIX_ENV"], "lib", filepath.Dir(rel), target)
		if in, err := filepath.Rel(b.work, at); err == nil && filepath.IsLocal(in) {
			at = filepath.Join(b.app, in)
		}
		if err := os.Remove(link); err != nil {
			return err
		}
		if err := os.Symlink(at, link); err != nil {
			return err
		}
	}
	return nil
}

// secretScript gives an app of Phoenix a secret where its settings have none: without one it does not start.
const secretScript = `#!/bin/sh
# Prints what the launcher adds to the app's environment.
[ -z "$SECRET_KEY_BASE" ] || exit 0
printf 'SECRET_KEY_BASE = "%s"\n' "$(od -An -v -N64 -tx1 /dev/urandom | tr -d ' \n')" >&3
echo 'SECRET_KEY_BASE is not set: this instance has one of its own, and sessions end with it' >&2
`

// settings makes the layer of the app's environment.
func (b *build) settings() error {
	layer, err := kit.OpenLayer(b.ctx, "settings")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	script := ""
	if b.project.phoenix {
		script = secretScript
	}
	key := kit.Key("1", script, b.release, b.env["MIX_ENV"], fmt.Sprint(b.project.phoenix))
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return err
	}
	launch := layer.LaunchEnvironment
	for name, value := range map[string]string{"LANG": "C.UTF-8", "MIX_ENV": b.env["MIX_ENV"], "RELEASE_TMP": "/tmp", "ERL_CRASH_DUMP": "/tmp/erl_crash.dump", "RELEASE_DISTRIBUTION": "none"} {
		launch.Default(name, value)
	}
	if b.release != "" {
		launch.Prepend("PATH", ":", filepath.Join(b.app, b.release, "bin"))
	} else {
		launch.Default("HEX_HOME", "/tmp/hex")
		launch.Default("MIX_HOME", "/tmp/mix")
	}
	if script == "" {
		return nil
	}
	launch.Default("PHX_SERVER", "true")
	launch.Default("ERL_FLAGS", "-phoenix serve_endpoints true") // what mix phx.server does, for apps that do not ask for PHX_SERVER
	return kit.WriteProgram(filepath.Join(layer.Path, "exec.d", "secret"), script)
}
