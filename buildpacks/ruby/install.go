package ruby

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// without are the groups of gems that are not for production.
const without = "development:test"

// platform is the name that Bundler has for this machine.
func platform() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux"
	}
	return "x86_64-linux"
}

// installGems installs the gems into a layer of their own, or takes over that of the last build.
func (b *build) installGems() error {
	if b.bundle.file == "" {
		return b.installRuby(b.site != nil)
	}
	for _, change := range []func() error{b.loosen, b.addServer} {
		if err := change(); err != nil {
			return err
		}
	}
	var err error
	if b.gems, err = kit.OpenLayer(b.ctx, "gems"); err != nil {
		return err
	}
	types := libcnb.LayerTypes{Launch: b.site == nil, Cache: b.needed()}
	key, err := b.gemsKey()
	if err != nil {
		return err
	}
	keep, err := b.gems.Keep(types, key)
	if err != nil {
		return err
	}
	locked, err := b.lockOfLastBuild(key, keep)
	if err != nil {
		return err
	}
	if err := b.installRuby(!keep || !locked || b.needed()); err != nil {
		return err
	}
	b.layers = append(b.layers, b.gems)
	if keep && locked {
		kit.Say(b.Out, "Using cached gems")
		if kit.IsDir(b.gems.Path) {
			b.gemsEnv()
		}
		return b.sbom()
	}
	if err := b.gems.Reset(types, key); err != nil {
		return err
	}
	if err := b.bundleInstall(); err != nil {
		return err
	}
	if err := b.keepLock(key); err != nil {
		return err
	}
	if err := b.pruneGems(); err != nil {
		return err
	}
	b.bundle = readBundle(b.app)
	return b.sbom()
}

// gemsKey is all that decides which gems are installed, and how.
func (b *build) gemsKey() (string, error) {
	parts := []string{"1", b.rubyKey(), b.bundle.file, b.bundle.text, b.env["BUNDLE_WITHOUT"], b.env["BUNDLE_WITH"], kit.Text(b.app, ".bundle", "config")}
	if b.bundle.lock != "" {
		parts = append(parts, kit.Text(b.app, b.bundle.lock))
	}
	// The Gemfile may read other files, and what is in vendor/cache is installed from there.
	for _, pattern := range []string{"*.gemspec", "Gemfile.*", "gemfiles/*", "vendor/cache/*.gem"} {
		found, _ := filepath.Glob(filepath.Join(b.app, pattern)) // constant patterns but for the app's folder
		for _, f := range found {
			if !kit.IsFile(f) {
				continue
			}
			sum, err := kit.FileKey(f)
			if err != nil {
				return "", err
			}
			parts = append(parts, filepath.Base(f), sum)
		}
	}
	return kit.Key(parts...), nil
}

// loosen keeps Bundler from refusing a Ruby that differs in its patch: it takes the Gemfile's version by the letter. The file is the image's own copy.
func (b *build) loosen() error {
	strict := slices.ContainsFunc(b.wanted.strict, func(r requirement) bool { return !r.allows(numbers(b.version)) })
	d := b.bundle.directive()
	if !strict || d == nil {
		return nil
	}
	b.bundle.text = b.bundle.text[:d.start] + `">= ` + b.line + `.0"` + b.bundle.text[d.end:]
	kit.Say(b.Out, "In the image, the %s says ruby \">= %s.0\": Bundler would refuse %s", b.bundle.file, b.line, b.version)
	return os.WriteFile(filepath.Join(b.app, b.bundle.file), []byte(b.bundle.text+"\n"), 0o644)
}

// lockFile is where Bundler writes which versions it has chosen.
func (b *build) lockFile() string {
	if b.bundle.file == "gems.rb" {
		return filepath.Join(b.app, "gems.locked")
	}
	return filepath.Join(b.app, "Gemfile.lock")
}

// lockOfLastBuild brings back the lock file that Bundler wrote or changed when the gems that are kept were installed. The app reads it when it starts.
func (b *build) lockOfLastBuild(key string, keep bool) (bool, error) {
	if !keep {
		return false, nil
	}
	dir, err := b.cache.Dir("ruby-locks")
	if err != nil {
		return false, err
	}
	saved := filepath.Join(dir, key)
	if kit.IsFile(saved) {
		return true, kit.CopyFile(saved, b.lockFile())
	}
	return b.bundle.lock != "" && b.hasPlatform(), nil
}

// keepLock keeps the lock file where it is not the app's own.
func (b *build) keepLock(key string) error {
	dir, err := b.cache.Dir("ruby-locks")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return kit.CopyFile(b.lockFile(), filepath.Join(dir, key))
}

// hasPlatform tells whether the lock file is for Linux, or for gems that are compiled anywhere.
func (b *build) hasPlatform() bool {
	return len(b.bundle.platforms) == 0 || slices.ContainsFunc(b.bundle.platforms, func(p string) bool {
		return p == "ruby" || p == platform() || p == platform()+"-gnu"
	})
}

// gemsEnv sets the environment of Bundler, in the build and in the app.
func (b *build) gemsEnv() {
	home := filepath.Join(b.gems.Path, "ruby", b.api())
	gemPath := home + ":" + b.usr("lib", "ruby", "gems", b.api())
	b.env["BUNDLE_PATH"], b.env["BUNDLE_APP_CONFIG"], b.env["GEM_PATH"] = b.gems.Path, filepath.Join(b.gems.Path, "config"), gemPath
	b.env.Default("BUNDLE_WITHOUT", without)
	b.env.Prepend(filepath.Join(home, "bin"))
	launch := b.gems.LaunchEnvironment
	launch.Override("BUNDLE_PATH", b.gems.Path)
	launch.Override("BUNDLE_APP_CONFIG", filepath.Join(b.gems.Path, "config"))
	launch.Default("BUNDLE_WITHOUT", b.env["BUNDLE_WITHOUT"])
	launch.Default("BUNDLE_FROZEN", "true")
	launch.Default("GEM_PATH", gemPath)
	launch.Prepend("PATH", ":", filepath.Join(home, "bin"))
}

// ownConfig takes over the app's configuration of Bundler, but for what decides where gems are and which.
func (b *build) ownConfig() error {
	dir := filepath.Join(b.gems.Path, "config")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var kept []string
	skip := false
	for line := range strings.Lines(kit.Text(b.app, ".bundle", "config")) {
		if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
			skip = slices.Contains([]string{"BUNDLE_PATH", "BUNDLE_WITHOUT", "BUNDLE_DEPLOYMENT", "BUNDLE_FROZEN", "BUNDLE_BIN", "BUNDLE_JOBS", "BUNDLE_PATH__SYSTEM", "BUNDLE_DISABLE_SHARED_GEMS", "BUNDLE_APP_CONFIG"}, name)
		}
		if !skip {
			kept = append(kept, strings.TrimRight(line, "\r\n"))
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "config"), []byte(strings.Join(kept, "\n")+"\n"), 0o644)
}

// bundleInstall installs the gems. Downloads, and what was compiled, are kept in the cache.
func (b *build) bundleInstall() error {
	downloads, err := b.cache.Dir("ruby-bundler")
	if err != nil {
		return err
	}
	if err := b.ownConfig(); err != nil {
		return err
	}
	b.gemsEnv()
	for name, value := range map[string]string{"BUNDLE_USER_HOME": downloads, "BUNDLE_GLOBAL_GEM_CACHE": "true", "BUNDLE_SILENCE_ROOT_WARNING": "true", "BUNDLE_JOBS": "4", "BUNDLE_RETRY": "3",
		"BUNDLE_DISABLE_VERSION_CHECK": "true", "BUNDLE_IGNORE_FUNDING_REQUESTS": "true", "MAKEFLAGS": "-j" + kit.Processors()} {
		b.env.Default(name, value)
	}
	if b.bundle.lock != "" && !b.hasPlatform() {
		kit.Say(b.Out, "Warning: %s is for %s; run bundle lock --add-platform %s, and commit it", b.bundle.lock, list(b.bundle.platforms), platform())
		if err := b.run("bundle", "lock", "--add-platform", platform()); err != nil {
			return err
		}
	}
	if b.bundle.lock == "" {
		kit.Say(b.Out, "Warning: there is no Gemfile.lock, so that versions may change; run bundle install and commit it")
	}
	if b.added && b.bundle.lock != "" {
		if err := b.run("bundle", "lock"); err != nil {
			return err
		}
	}
	env := b.env.Clone()
	if b.bundle.lock != "" {
		env.Default("BUNDLE_FROZEN", "true")
	}
	kit.Say(b.Out, "bundle install (without %s)", strings.ReplaceAll(b.env["BUNDLE_WITHOUT"], ":", ", "))
	said, err := kit.Cmd{Args: []string{"bundle", "install"}, Dir: b.app, Env: env, Out: b.Out}.Run()
	return b.reason(said, err)
}

func (b *build) run(args ...string) error {
	kit.Say(b.Out, "%s", strings.Join(args, " "))
	said, err := kit.Cmd{Args: args, Dir: b.app, Env: b.env, Out: b.Out, Name: strings.Join(args[:min(3, len(args))], " ")}.Run()
	return b.reason(said, err)
}

// pruneGems takes out what only an installation needs, or differs each time.
func (b *build) pruneGems() error {
	home := filepath.Join(b.gems.Path, "ruby", b.api())
	for _, dir := range []string{"cache", "doc", "build_info", "plugins"} {
		if err := os.RemoveAll(filepath.Join(home, dir)); err != nil {
			return err
		}
	}
	if !kit.IsDir(home) {
		return nil
	}
	return filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && name == ".git" {
			return errorOrSkip(os.RemoveAll(path))
		}
		if !d.IsDir() && (name == "gem_make.out" || name == "mkmf.log" || strings.HasSuffix(name, ".o") && strings.Contains(path, "/ext/")) {
			return os.Remove(path)
		}
		return nil
	})
}

func errorOrSkip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

func (b *build) sbom() error {
	var packages []kit.Package
	for name, version := range b.bundle.gems {
		packages = append(packages, kit.Package{Name: name, Version: version, PURL: "pkg:gem/" + name})
	}
	return kit.WriteSBOM(b.gems.Layer, packages)
}
