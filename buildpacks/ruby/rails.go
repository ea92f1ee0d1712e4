package ruby

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
)

func (b *build) isRails() bool {
	return b.bundle.hasAny("railties", "rails") && kit.IsFile(b.app, "config", "application.rb")
}

// precompiles tells whether there are assets to make: an app that is only an API has no such gem, and who commits them needs no more.
func (b *build) precompiles() bool {
	if !b.isRails() || !kit.IsFile(b.app, "Rakefile") || b.env.Bool("DISABLE_ASSETS_PRECOMPILE") {
		return false
	}
	for _, f := range []string{"public/assets/.manifest.json", "public/assets/manifest.json", "public/assets/.sprockets-manifest*.json", "public/assets/manifest-*.json", "public/packs/manifest.json"} {
		if found, _ := filepath.Glob(filepath.Join(b.app, f)); len(found) > 0 { // constant patterns but for the app's folder
			return false
		}
	}
	return b.bundle.hasAny("sprockets-rails", "sprockets", "propshaft", "webpacker", "shakapacker", "vite_rails", "vite_ruby", "importmap-rails", "jsbundling-rails", "cssbundling-rails", "tailwindcss-rails", "dartsass-rails")
}

// assets makes the assets of Rails. Nothing of it needs a database or a secret of the app's.
func (b *build) assets() error {
	if !b.precompiles() {
		return nil
	}
	env := b.env
	for name, value := range map[string]string{"RAILS_ENV": "production", "RACK_ENV": "production", "SECRET_KEY_BASE_DUMMY": "1", "SECRET_KEY_BASE": "only-for-the-build", "NODE_ENV": "production"} {
		env.Default(name, value)
	}
	for gem, scheme := range map[string]string{"pg": "postgresql", "mysql2": "mysql2", "trilogy": "trilogy"} {
		if b.bundle.has(gem) { // read by config/database.yml; no connection is made
			env.Default("DATABASE_URL", scheme+"://build:build@127.0.0.1/build")
		}
	}
	if kit.IsFile(b.app, "package.json") || b.bundle.has("execjs") {
		if err := b.packages4js(false); err != nil {
			return err
		}
	}
	done, err := b.keepFolder("tmp/cache/assets", "rails-assets")
	if err != nil {
		return err
	}
	kit.Say(b.Out, "rake assets:precompile")
	said, err := kit.Cmd{Args: []string{"bundle", "exec", "rake", "assets:precompile"}, Dir: b.app, Env: env, Out: b.Out, Name: "rake assets:precompile"}.Run()
	if err := done(); err != nil {
		return err
	}
	if err != nil {
		return b.railsReason(said, err)
	}
	return os.RemoveAll(filepath.Join(b.app, "node_modules"))
}

// keepFolder lets a folder of the app lead into the cache until the returned function is called.
func (b *build) keepFolder(name, cached string) (func() error, error) {
	none := func() error { return nil }
	path := filepath.Join(b.app, name)
	if kit.Exists(path) {
		return none, nil
	}
	dir, err := b.cache.Dir(cached)
	if err != nil {
		return none, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return none, err
	}
	return func() error { return os.Remove(path) }, os.Symlink(dir, path)
}

// railsReason says what an app that does not start without its settings may need.
func (b *build) railsReason(said string, err error) error {
	next := "give the build the variables that the app reads when it starts, or make the assets yourself and commit public/assets"
	if lack, ok := kit.FindLack(said); ok {
		return kit.Errorf(lack.Next(), "%s: %s is missing", kit.Line(withoutLack(err)), lack.What)
	}
	var line string
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(l)
		if strings.Contains(l, "Error") && line == "" || strings.Contains(l, "KeyError") || strings.HasPrefix(l, "rake aborted") {
			line = l
		}
	}
	if strings.HasPrefix(line, "rake aborted") {
		_, rest, _ := strings.Cut(said, "rake aborted!")
		line = kit.First(strings.TrimSpace(rest))
	}
	if line == "" {
		return err
	}
	if strings.Contains(line, "LoadError") || strings.Contains(line, "NameError") || strings.Contains(line, "SyntaxError") {
		next = "it is so in production: try RAILS_ENV=production bin/rails assets:precompile"
	}
	return kit.Errorf(next, "%s: %s", err.Error(), line)
}

// withoutLack is the error without what kit has added of the system's parts.
func withoutLack(err error) error {
	var e *kit.Error
	if errors.As(err, &e) {
		return &kit.Error{Message: e.Message}
	}
	return err
}

// secretScript gives an app of Rails a secret where its settings have none: without one it does not start.
const secretScript = `#!/bin/sh
# Prints what the launcher adds to the app's environment.
[ -z "$SECRET_KEY_BASE$RAILS_MASTER_KEY" ] || exit 0
for f in config/master.key config/credentials/production.key; do [ ! -s "$f" ] || exit 0; done
key=$(od -An -v -N64 -tx1 /dev/urandom | tr -d ' \n')
printf 'SECRET_KEY_BASE = "%s"\n' "$key" >&3
echo 'SECRET_KEY_BASE is not set: this instance has one of its own, and sessions end with it' >&2
`

// secret adds that script.
func (b *build) secret() error {
	if !b.isRails() {
		return nil
	}
	layer, err := kit.OpenLayer(b.ctx, "secret")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	if reuse, err := layer.Reuse(kit.Key(secretScript)); err != nil || reuse {
		return err
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, kit.Key(secretScript)); err != nil {
		return err
	}
	return kit.WriteProgram(filepath.Join(layer.Path, "exec.d", "secret"), secretScript)
}

// packages4js puts Node.js on the PATH and the packages of package.json into place. The build script runs where nothing else makes the assets.
func (b *build) packages4js(build bool) error {
	a, err := node.OpenAssets(b.Out, b.ctx, b.cache, b.env)
	if err != nil {
		return err
	}
	if err := a.Install(); err != nil {
		return err
	}
	if build && a.HasBuild() {
		return a.Build()
	}
	return nil
}
