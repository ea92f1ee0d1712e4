package deno

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// prepare sets the environment of deno.
func (b *build) prepare(bin string) error {
	dir, err := b.cache.Downloads("deno")
	if err != nil {
		return err
	}
	b.env.Prepend(filepath.Join(b.Root, "bin")) // tasks may call node
	b.env.Prepend(bin)
	b.env.Default("HOME", os.TempDir())
	b.env["DENO_DIR"] = dir
	b.env["DENO_NO_UPDATE_CHECK"] = "1"
	b.env["DENO_NO_PROMPT"] = "1"
	b.env["NO_COLOR"] = "1"
	b.env["npm_config_update_notifier"] = "false"
	if ca := b.env["SSL_CERT_FILE"]; ca != "" {
		b.env.Default("DENO_CERT", ca)
	}
	if r := b.env["npm_config_registry"]; r != "" {
		b.env.Default("NPM_CONFIG_REGISTRY", r)
	}
	return nil
}

var (
	staleLock   = pattern.New(`(?i)lockfile is out of date`)
	unreachable = pattern.New(`(?s)(?:error sending request|dns error|tcp connect error|Connection refused|Import '?\S* failed)[^\n]*?https?://([^/:\s)'"]+)`)
	missing     = pattern.New(`(?:Module not found|Could not find)[^\n]*"([^"]+)"`)
)

// run runs deno in the app's folder.
func (b *build) run(env kit.Env, args ...string) error {
	kit.Say(b.Out, "deno %s", strings.Join(args, " "))
	said, err := kit.Cmd{Args: append([]string{b.exe}, args...), Dir: b.app, Env: env, Out: b.Out, Name: "deno " + args[0]}.Run()
	if err == nil {
		return nil
	}
	if staleLock.MatchString(said) {
		return kit.Errorf("run deno install, and commit deno.lock", "deno.lock does not fit what the app imports")
	}
	if m := unreachable.FindStringSubmatch(said); m != nil {
		return kit.Errorf("see that builds reach it, or import the package from npm", "%s: %s cannot be reached from the build", kit.Line(err), m[1])
	}
	if m := missing.FindStringSubmatch(said); m != nil {
		return kit.Errorf("commit it, or correct the import", "%s: there is no %s", kit.Line(err), m[1])
	}
	return err
}

// install fetches what the app imports. Without a lock file deno makes one, which the image needs to start without the network.
func (b *build) install(entry string) error {
	args := []string{"install"}
	if kit.IsFile(b.app, "deno.lock") {
		args = append(args, "--frozen")
	} else {
		kit.Say(b.Out, "Warning: there is no lock file, so each build may install other versions; commit deno.lock")
	}
	if b.conf.file != "" || kit.Exists(b.app, "package.json") {
		if err := b.run(b.env, args...); err != nil {
			return err
		}
	}
	if entry == "" {
		return nil
	}
	return b.run(b.env, append(args, "--entrypoint", entry)...)
}

// fetched are the folders of DENO_DIR that hold what was fetched. The others are caches of analyses, which differ each time.
var fetched = []string{"npm", "remote", "deps"}

// dependencies is the layer of what the app imports. It is the same as long as the same files are there.
func (b *build) dependencies() (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "dependencies")
	if err != nil {
		return nil, err
	}
	dir := b.env["DENO_DIR"]
	lock := kit.Text(b.app, "deno.lock")
	registry := b.env["NPM_CONFIG_REGISTRY"]
	parts := []string{"1", lock, registry}
	for _, name := range fetched {
		_ = filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !skipped(d.Name()) {
				parts = append(parts, strings.TrimPrefix(path, dir))
			}
			return nil // what is not there was not fetched
		})
	}
	key := kit.Key(parts...)
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return layer, err
	}
	for _, name := range fetched {
		if !kit.IsDir(dir, name) {
			continue
		}
		if err := kit.CopyTree(filepath.Join(dir, name), filepath.Join(layer.Path, name), func(rel string) bool { return skipped(filepath.Base(rel)) }); err != nil {
			return nil, err
		}
	}
	layer.LaunchEnvironment.Default("DENO_DIR", layer.Path)
	if registry != "" { // the packages lie in a folder that is called by it
		layer.LaunchEnvironment.Default("NPM_CONFIG_REGISTRY", registry)
	}
	return layer, kit.WriteSBOM(layer.Layer, packages(lock))
}

// skipped tells whether a file is a list of the registry's, which changes from day to day: the lock file says all that is needed.
func skipped(name string) bool { return name == "registry.json" || strings.HasPrefix(name, ".") }

var lockEntry = pattern.New(`"((?:@[\w.-]+/)?[\w.-]+)@(\d[^"_]*)(?:_[^"]*)?": *\{`)

// packages reads the bill of materials from the lock file.
func packages(lock string) (all []kit.Package) {
	_, section, _ := strings.Cut(lock, `"npm": {`)
	for _, m := range lockEntry.FindAllStringSubmatch(section, -1) {
		all = append(all, kit.Package{Name: m[1], Version: m[2], PURL: "pkg:npm/" + strings.Replace(m[1], "@", "%40", 1)})
	}
	return all
}

// program is the layer of deno itself.
func (b *build) program() (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "deno")
	if err != nil {
		return nil, err
	}
	manifest, err := kit.FileKey(filepath.Join(filepath.Dir(b.exe), "package.json"))
	if err != nil {
		return nil, err
	}
	if reuse, err := layer.Reuse(kit.Key("1", manifest)); err != nil || reuse {
		return layer, err
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, kit.Key("1", manifest)); err != nil {
		return nil, err
	}
	to := filepath.Join(layer.Path, "bin", "deno")
	if err := kit.CopyFile(b.exe, to); err != nil {
		return nil, err
	}
	if err := os.Chmod(to, 0o755); err != nil {
		return nil, err
	}
	layer.SetLaunch(map[string]string{"DENO_NO_UPDATE_CHECK": "1", "DENO_NO_PROMPT": "1", "NODE_ENV": "production"})
	return layer, nil
}
