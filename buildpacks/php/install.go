package php

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// installPackages runs Composer. It does so in each build, because the app's own classes and scripts are part of it; the packages themselves are kept.
func (b *build) installPackages() error {
	if !b.composer.there {
		return nil
	}
	downloads, err := b.cache.Downloads("php-composer")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"COMPOSER_CACHE_DIR": downloads, "COMPOSER_HOME": filepath.Join(os.TempDir(), "composer"), "COMPOSER_ALLOW_SUPERUSER": "1", "COMPOSER_NO_INTERACTION": "1",
		"COMPOSER_MEMORY_LIMIT": "-1", "COMPOSER_NO_AUDIT": "1", "COMPOSER_ROOT_VERSION": "1.0.0"} {
		b.env.Default(name, value)
	}
	for name, value := range b.production() {
		b.env.Default(name, value)
	}
	if err := b.makeFolders(); err != nil {
		return err
	}
	if !b.composer.hasLock && len(b.composer.Require) > 0 {
		kit.Say(b.Out, "Warning: there is no composer.lock, so that versions may change; run composer update and commit it")
	}
	dir, err := b.cache.Dir("php-vendor")
	if err != nil {
		return err
	}
	kept := filepath.Join(dir, kit.Key("1", b.set.Key(), kit.Text(b.app, "composer.json"), kit.Text(b.app, "composer.lock")))
	vendor := filepath.Join(b.app, "vendor")
	have := kit.IsDir(kept) && !kit.IsFile(vendor, "autoload.php")
	if have {
		kit.Say(b.Out, "Using cached packages")
		if err := kit.CopyTree(kept, vendor, nil); err != nil {
			return err
		}
	}
	kit.Say(b.Out, "composer install --no-dev")
	args := []string{"composer", "install", "--no-dev", "--no-interaction", "--no-progress", "--prefer-dist", "--optimize-autoloader"}
	said, err := kit.Cmd{Args: args, Dir: b.app, Env: b.env, Out: b.Out}.Run()
	if err != nil {
		return b.reason(said, err)
	}
	if have || !kit.IsDir(vendor) {
		return b.sbom()
	}
	if err := os.RemoveAll(dir); err != nil { // those of other lock files
		return err
	}
	tmp := filepath.Join(dir, ".new")
	if err := kit.CopyTree(vendor, tmp, nil); err != nil {
		return err
	}
	if err := os.Rename(tmp, kept); err != nil {
		return err
	}
	return b.sbom()
}

func (b *build) sbom() error {
	packages := b.set.SBOM()
	for _, p := range b.composer.locked {
		packages = append(packages, kit.Package{Name: p.Name, Version: strings.TrimPrefix(p.Version, "v"), PURL: "pkg:composer/" + p.Name})
	}
	return kit.WriteSBOM(b.php.Layer, packages)
}

func (b *build) isLaravel() bool { return kit.IsFile(b.app, "artisan") }
func (b *build) isSymfony() bool {
	return kit.IsFile(b.app, "bin", "console") && b.composer.has("symfony/framework-bundle")
}

// production are the variables by which frameworks know it.
func (b *build) production() map[string]string {
	switch {
	case b.isLaravel():
		return map[string]string{"APP_ENV": "production", "APP_DEBUG": "false", "LOG_CHANNEL": "stderr"}
	case b.isSymfony():
		return map[string]string{"APP_ENV": "prod", "APP_DEBUG": "0"}
	}
	return map[string]string{"APP_ENV": "production"}
}

// makeFolders makes those that git leaves out, being empty, and that a framework writes into.
func (b *build) makeFolders() error {
	if !b.isLaravel() {
		return nil
	}
	for _, dir := range []string{"bootstrap/cache", "storage/app/public", "storage/framework/cache/data", "storage/framework/sessions", "storage/framework/views", "storage/logs"} {
		if err := os.MkdirAll(filepath.Join(b.app, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// framework does what a framework has done before it is served, and sets its environment.
func (b *build) framework() error {
	if b.isSymfony() && kit.IsFile(b.app, "vendor", "autoload.php") {
		kit.Say(b.Out, "bin/console cache:warmup")
		if _, err := (kit.Cmd{Args: []string{"php", "bin/console", "cache:warmup"}, Dir: b.app, Env: b.env, Out: b.Out, Name: "bin/console cache:warmup",
			Next: "give the build the variables that the app reads when it starts"}).Run(); err != nil {
			return err
		}
	}
	layer, err := kit.OpenLayer(b.ctx, "framework")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	script := ""
	if b.isLaravel() {
		script = laravelScript
	}
	key := kit.Key("1", script, b.production()["APP_ENV"])
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return err
	}
	layer.SetLaunch(b.production())
	if script == "" {
		return nil
	}
	return kit.WriteProgram(filepath.Join(layer.Path, "exec.d", "laravel"), script)
}

// laravelScript gives an app of Laravel's what it does not start without, where its settings have none.
const laravelScript = `#!/bin/sh
# Prints what the launcher adds to the app's environment.
if [ -z "$APP_KEY" ] && ! grep -qs '^APP_KEY=.' .env; then
	printf 'APP_KEY = "base64:%s"\n' "$(head -c 32 /dev/urandom | base64 | tr -d '\n')" >&3
	echo 'APP_KEY is not set: this instance has one of its own, and sessions end with it' >&2
fi
if [ -z "$DB_CONNECTION$DB_URL$DATABASE_URL$DB_HOST" ] && [ ! -e .env ] && [ ! -s database/database.sqlite ]; then
	[ -n "$SESSION_DRIVER" ] || echo 'SESSION_DRIVER = "file"' >&3
	[ -n "$CACHE_STORE" ] || echo 'CACHE_STORE = "file"' >&3
	[ -n "$QUEUE_CONNECTION" ] || echo 'QUEUE_CONNECTION = "sync"' >&3
	echo 'no database is set: sessions and the cache are in files of this instance' >&2
fi
`

var (
	needsPHP       = pattern.New(`(?m)([a-z0-9_.-]+/[a-z0-9_.-]+) [^\n]*requires php(?:-64bit)? (\S[^\n]*?) (?:->|but) `)
	needsExtension = pattern.New(`requires? (?:PHP extension )?ext-([A-Za-z0-9_-]+)`)
	staleLock      = pattern.New(`(?i)lock file is not up to date|is not present in the lock file|is in the lock file as "[^"]*" but that does not satisfy`)
	notFound       = pattern.New(`Root composer\.json requires (\S+)[^\n]*(?:could not be found|found \S+\[)`)
	unreachable    = pattern.New(`(?:Could not resolve host: |Failed to connect to |curl error \d+ while downloading https?://)([A-Za-z0-9.-]+)`)
	scriptFailed   = pattern.New(`Script (.+?) (?:handling the (\S+) event )?returned with error code`)
	credentials    = pattern.New(`(?i)(?:could not authenticate|authentication required|invalid credentials)[^\n]*?(https?://[^\s/]+|github\.com)?`)
)

// reason puts the cause of Composer's failure into the error.
func (b *build) reason(said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) {
		return err
	}
	fail := func(next, format string, args ...any) error { return kit.Errorf(next, e.Message+": "+format, args...) }
	switch {
	case unreachable.MatchString(said):
		return fail("try again later", "%s cannot be reached", strings.TrimRight(unreachable.FindStringSubmatch(said)[1], "."))
	case needsPHP.MatchString(said):
		m := needsPHP.FindStringSubmatch(said)
		return fail("update the package, or ask for another PHP in composer.json", "%s requires PHP %s, and this is %s", m[1], strings.TrimSuffix(m[2], ","), b.version)
	case needsExtension.MatchString(said):
		ext := needsExtension.FindStringSubmatch(said)[1]
		return fail("require ext-"+ext+" in composer.json: Debian has the usual ones as php"+b.line+"-"+ext, "the extension %s is missing", ext)
	case staleLock.MatchString(said):
		return fail("run composer update --lock, commit composer.lock and push again", "composer.lock does not fit composer.json")
	case notFound.MatchString(said):
		return fail("check its name and version", "no repository has %s as composer.json requires it", strings.TrimSuffix(notFound.FindStringSubmatch(said)[1], ","))
	case scriptFailed.MatchString(said):
		return fail("see what it says above; it runs in the build, without the app's settings", "the script %s failed", scriptFailed.FindStringSubmatch(said)[1])
	case credentials.MatchString(said):
		return fail("give the build a COMPOSER_AUTH", "a repository wants credentials")
	}
	return err
}
