package elixir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/internal/pattern"
)

// openWork brings what the last build compiled, and the sources of packages, into the app's folder. They stay in the cache: links lead there.
func (b *build) openWork() error {
	var err error
	if b.work, err = b.cache.Dir("elixir"); err != nil {
		return err
	}
	compiled := filepath.Join(b.work, "_build")
	mark := filepath.Join(b.work, "made-with")
	if kit.Text(mark) != b.set.Key() { // of another Erlang
		if err := os.RemoveAll(compiled); err != nil {
			return err
		}
	}
	if kit.Exists(b.app, "_build") {
		kit.Say(b.Out, "Warning: _build is left out of the build; add it to .gitignore and take it out by git rm -r --cached _build")
		if err := os.RemoveAll(filepath.Join(b.app, "_build")); err != nil {
			return err
		}
	}
	deps := filepath.Join(b.work, "deps")
	if kit.IsDir(b.app, "deps") { // the app has its packages with it
		deps = filepath.Join(b.app, "deps")
	} else if err := os.Symlink(deps, filepath.Join(b.app, "deps")); err != nil {
		return err
	}
	if err := os.Symlink(compiled, filepath.Join(b.app, "_build")); err != nil {
		return err
	}
	for _, dir := range []string{deps, compiled} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{"MIX_HOME": filepath.Join(b.work, "mix"), "HEX_HOME": filepath.Join(b.work, "hex"), "MIX_DEPS_PATH": deps,
		"MIX_BUILD_PATH": filepath.Join(compiled, b.env["MIX_ENV"])} {
		b.env[name] = value
	}
	if ca := b.env["SSL_CERT_FILE"]; ca != "" {
		b.env.Default("HEX_CACERTS_PATH", ca)
	}
	if err := kit.KeepTimes(b.app, filepath.Join(b.work, "times"), time.Now(), "_build"); err != nil {
		return err
	}
	return os.WriteFile(mark, []byte(b.set.Key()), 0o644)
}

var ofHex = pattern.New(`(?m)^[^#\n]*\{\s*:\w+\s*,\s*"`)

// hasPackages tells whether the app needs packages, and whether they come from Hex.
func (b *build) hasPackages() (any, hex bool) {
	texts := []string{kit.Text(b.app, manifest)}
	found, _ := filepath.Glob(filepath.Join(b.app, "apps", "*", manifest)) // a constant pattern but for the app's folder
	for _, f := range found {
		texts = append(texts, kit.Text(f))
	}
	lock := kit.Text(b.app, "mix.lock")
	all := strings.Join(texts, "\n")
	hex = strings.Contains(lock, "{:hex,") || ofHex.MatchString(all)
	return hex || strings.Contains(lock, "{:") || strings.Contains(all, "git:") || strings.Contains(all, "github:") || strings.Contains(all, "path:"), hex
}

// packages gets them. Hex, and rebar3 for packages of Erlang, come by mix's own means, which checks their signatures.
func (b *build) packages() error {
	some, hex := b.hasPackages()
	if !some {
		return nil
	}
	if hex {
		for _, what := range []string{"local.hex", "local.rebar"} {
			if err := b.run("mix", what, "--force", "--if-missing"); err != nil {
				return err
			}
		}
		if !kit.IsFile(b.app, "mix.lock") {
			kit.Say(b.Out, "Warning: there is no mix.lock, so that versions may change; run mix deps.get and commit it")
		}
	}
	return b.run("mix", "deps.get", "--only", b.env["MIX_ENV"])
}

// compile compiles the packages and the app.
func (b *build) compile() error {
	return b.run("mix", "compile")
}

// assets makes those of Phoenix: by the alias that its generator writes, else by the build script in assets/, and the digests.
func (b *build) assets() error {
	dir := filepath.Join(b.app, "assets")
	if b.project.umbrella {
		return b.umbrellaAssets()
	}
	if kit.IsFile(dir, "package.json") {
		ctx := b.ctx
		ctx.Application.Path = dir
		a, err := node.OpenAssets(b.Out, ctx, b.cache, b.env)
		if err != nil {
			return err
		}
		if err := a.Install(); err != nil {
			return err
		}
		if a.HasBuild() && !b.deploys() {
			if err := a.Build(); err != nil {
				return err
			}
		}
	}
	switch {
	case b.deploys():
		if err := b.run("mix", "assets.deploy"); err != nil {
			return err
		}
	case b.project.phoenix && kit.IsDir(b.app, "priv", "static"):
		if err := b.run("mix", "phx.digest"); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(dir, "node_modules"))
}

func (b *build) deploys() bool { return slices.Contains(b.project.aliases, "assets.deploy") }

// umbrellaAssets makes those of the apps below apps/.
func (b *build) umbrellaAssets() error {
	if b.deploys() {
		return b.run("mix", "assets.deploy")
	}
	found, _ := filepath.Glob(filepath.Join(b.app, "apps", "*", manifest)) // a constant pattern but for the app's folder
	for _, f := range found {
		if strings.Contains(kit.Text(f), `"assets.deploy"`) {
			return b.run("mix", "do", "--app", filepath.Base(filepath.Dir(f)), "assets.deploy")
		}
	}
	return nil
}
