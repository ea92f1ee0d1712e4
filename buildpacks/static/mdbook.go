package static

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// bookDigests are the digests of the versions that Debian has.
var bookDigests = map[string]string{"0.4.48": "8b6fbb4ac2d9fd7aa987c3510309ea3c80004a968d063c42f0d34fea070817c1"}

// bookScript is the script of a book's menus, its buttons and the colours of its code. Debian's mdBook names it in each page and does not write it.
const bookScript = "book.js"

// completeBook puts the script beside the pages that name it: that of the book's theme, else that of mdBook's own sources of the version. A book can
// be read without: where the sources, whose archive get puts into a file, cannot be had, it is said, and the push goes on.
func (b Buildpack) completeBook(app, version string, env kit.Env, store string, get func(version, file string) error) error {
	site := filepath.Join(app, siteFolder)
	if kit.Exists(site, bookScript) || !strings.Contains(kit.Text(site, "index.html"), `src="`+bookScript+`"`) {
		return nil
	}
	script := filepath.Join(app, bookTheme(app), bookScript)
	if !kit.IsFile(script) {
		sources, err := b.bookSources(version, env, store, get)
		if err != nil {
			kit.Say(b.Out, "Warning: the book has no %s, which Debian's mdBook leaves out: its menus and the colours of its code need it; %v. Push again later, or commit theme/%s", bookScript, err, bookScript)
			return nil
		}
		script = filepath.Join(sources, "src", "front-end", "js", bookScript)
	}
	text, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(site, bookScript), text, 0o644)
}

// bookTheme is the folder of the book with what takes the place of mdBook's own files.
func bookTheme(app string) string {
	var book struct {
		Output struct{ HTML struct{ Theme string } }
	}
	if toml.Unmarshal([]byte(kit.Text(app, "book.toml")), &book) == nil && filepath.IsLocal(book.Output.HTML.Theme) {
		return book.Output.HTML.Theme
	}
	return "theme"
}

// bookSources returns the folder of a version's sources, in the app's cache. get puts their archive into a file.
func (b Buildpack) bookSources(version string, env kit.Env, store string, get func(version, file string) error) (string, error) {
	dir := filepath.Join(store, "mdbook-"+version)
	if kit.IsFile(dir, "src", "front-end", "js", bookScript) {
		return dir, nil
	}
	sum := bookDigests[version]
	if sum == "" {
		return "", errors.New("the digest of the sources of mdBook " + version + " is not known")
	}
	archive := dir + ".crate"
	defer os.Remove(archive)
	if err := errors.Join(os.RemoveAll(dir), get(version, archive)); err != nil {
		return "", err
	}
	if have, err := kit.FileKey(archive); err != nil || have != sum {
		return "", errors.Join(err, errors.New("the sources of mdBook "+version+" are not those whose digest is known"))
	}
	return dir, fetch.Unpack(env, b.Out, archive, dir, "1")
}

// byCargo gets the archive of a version of mdBook's sources by Debian's cargo, which knows where its packages come from: asked about one, it fetches that alone.
func (b Buildpack) byCargo(tool *debs.Tool, env kit.Env, cache *kit.Cache, store string) func(version, file string) error {
	return func(version, file string) error {
		set, err := tool.Resolve(debs.Request{Packages: []string{"cargo"}})
		if err != nil {
			return err
		}
		dir, err := tool.InCache(set, cache, "static-cargo")
		if err != nil {
			return err
		}
		env := env.Clone()
		debs.Environment(dir).AddTo(env)
		home := filepath.Join(store, "cargo")
		env["CARGO_HOME"] = home
		defer os.RemoveAll(home)
		if _, err := (kit.Cmd{Args: []string{"cargo", "info", "--quiet", "mdbook@" + version}, Dir: store, Env: env, Out: b.Out, Name: "cargo info"}).Output(); err != nil {
			return err
		}
		found, err := filepath.Glob(filepath.Join(home, "registry", "cache", "*", "mdbook-"+version+".crate"))
		if err != nil || len(found) != 1 {
			return errors.Join(err, errors.New("cargo info has not fetched mdBook "+version))
		}
		return os.Rename(found[0], file)
	}
}
