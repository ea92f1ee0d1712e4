package php

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// usual are the packages of extensions that every app gets.
var usual = []string{"bcmath", "curl", "mbstring", "mysql", "opcache", "pgsql", "sqlite3", "xml", "zip"}

// within are the packages that have extensions of another name. "" is PHP itself.
var within = map[string]string{"dom": "xml", "simplexml": "xml", "xmlreader": "xml", "xmlwriter": "xml", "xsl": "xml", "mysqli": "mysql", "mysqlnd": "mysql", "pdo_mysql": "mysql", "pdo_pgsql": "pgsql",
	"pdo_sqlite": "sqlite3", "zend-opcache": "opcache", "pdo_odbc": "odbc", "pdo_dblib": "sybase", "calendar": "", "core": "", "ctype": "", "date": "", "exif": "", "ffi": "", "fileinfo": "", "filter": "", "ftp": "",
	"gettext": "", "hash": "", "iconv": "", "json": "", "libxml": "", "openssl": "", "pcntl": "", "pcre": "", "pdo": "", "phar": "", "posix": "", "random": "", "reflection": "", "session": "", "shmop": "",
	"sockets": "", "sodium": "", "spl": "", "standard": "", "sysvmsg": "", "sysvsem": "", "sysvshm": "", "tokenizer": "", "zlib": ""}

// uses tells by the code of an app without composer.json which larger extensions it needs.
var uses = map[string]*pattern.Pattern{
	"gd":   pattern.New(`\b(?:imagecreate\w*|getimagesizefromstring|imagejpeg|imagepng)\s*\(`),
	"intl": pattern.New(`\b(?:NumberFormatter|IntlDateFormatter|Collator|Normalizer|MessageFormatter)\b`),
}

// composerNeeds are packages that Composer of an older release needs in the versions of that release.
var composerNeeds = []string{"php-cli", "php-common", "php-intl", "php-json-schema", "php-mbstring", "php-psr-container", "php-psr-log", "php-react-promise", "php-symfony-console", "php-symfony-filesystem",
	"php-symfony-finder", "php-symfony-process", "php-symfony-service-contracts", "php-symfony-string"}

// packages is what is asked of Debian: of the image's release, or of an older one.
func (b *build) packages(older bool) []string {
	prefix := "php" + b.line
	list := []string{prefix + "-cli", prefix + "-common", prefix + "-fpm", prefix + "-readline"} // all named, to come from the same release
	if b.composer.there {
		list = append(list, "composer")
		if older {
			list = append(list, composerNeeds...)
			list = append(list, prefix+"-intl")
		}
	}
	extensions := slices.Clone(usual)
	add := func(require map[string]string) {
		for name := range require {
			ext, ok := strings.CutPrefix(strings.ToLower(name), "ext-")
			if !ok {
				continue
			}
			if pkg, known := within[ext]; known {
				ext = pkg
			}
			if ext != "" {
				extensions = append(extensions, strings.ReplaceAll(ext, "_", "-"))
			}
		}
	}
	add(b.composer.Require)
	for _, p := range b.composer.locked {
		add(p.require)
	}
	if !b.composer.there {
		extensions = append(extensions, b.usedExtensions()...)
	}
	for _, e := range extensions {
		list = append(list, prefix+"-"+e)
	}
	return list
}

// usedExtensions looks through the app's code, up to a bound.
func (b *build) usedExtensions() (found []string) {
	if kit.IsFile(b.app, "wp-includes", "version.php") {
		return []string{"gd", "intl"}
	}
	files := 0
	_ = filepath.WalkDir(b.app, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".php" {
			return nil // what cannot be read cannot be run
		}
		if files++; files > 500 {
			return fs.SkipAll
		}
		text := kit.Text(path)
		for name, p := range uses {
			if !slices.Contains(found, name) && p.MatchString(text) {
				found = append(found, name)
			}
		}
		return nil
	})
	slices.Sort(found)
	return found
}

// layout is raised when the same packages make another layer than before.
const layout = "1"

// installPHP fills PHP's layer, or takes it over. An app with Composer needs it in each build.
func (b *build) installPHP() error {
	types := libcnb.LayerTypes{Launch: true, Cache: b.composer.there}
	key := func() string { return kit.Key(b.set.Key(), layout) }
	keep, err := b.php.Keep(types, key())
	if err != nil {
		return err
	}
	if !keep {
		if err := b.php.Reset(types, ""); err != nil {
			return err
		}
		if err := b.tool.Install(b.set, b.php.Path); err != nil {
			return err
		}
		if err := b.settle(); err != nil {
			return err
		}
		b.php.SetKey(key()) // Install may have found newer packages
	}
	if kit.IsDir(b.php.Path) {
		variables := debs.Environment(b.php.Path)
		variables.AddTo(b.env)
		variables.SetLayer(b.php)
		b.env["PHP_INI_SCAN_DIR"] = b.path("conf.d")
		b.php.LaunchEnvironment.Default("PHP_INI_SCAN_DIR", b.path("conf.d"))
		b.php.LaunchEnvironment.Default("COMPOSER_ALLOW_SUPERUSER", "1")
	}
	return kit.WriteSBOM(b.php.Layer, b.set.SBOM())
}

func (b *build) path(elem ...string) string {
	return filepath.Join(append([]string{b.php.Path}, elem...)...)
}

// made is the date that files of an image have.
var made = time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)

// settle makes Debian's PHP work from the layer, and takes out what its packages bring along for a system that is started.
func (b *build) settle() error {
	for _, glob := range []string{"etc/[^p]*", "var", "usr/lib/systemd", "usr/lib/*/systemd", "usr/bin/*ctl", "usr/bin/systemd*", "usr/sbin/[^p]*", "usr/share/fonts", "usr/lib/sysctl.d", "usr/lib/kernel",
		"usr/share/dbus-1", "usr/share/polkit-1", "usr/share/bash-completion", "usr/share/zsh", "usr/lib/*/libsystemd-shared*"} {
		found, _ := filepath.Glob(b.path(glob)) // constant patterns but for the layer's path
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	for link, to := range map[string]string{"php": "php" + b.line, "phar": "phar" + b.line, "php-fpm": "../sbin/php-fpm" + b.line} {
		if err := os.RemoveAll(b.path("usr", "bin", link)); err != nil {
			return err
		}
		if err := os.Symlink(to, b.path("usr", "bin", link)); err != nil {
			return err
		}
	}
	if err := b.relocate(); err != nil {
		return err
	}
	text, err := b.extensions()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.path("conf.d"), 0o755); err != nil {
		return err
	}
	text += strings.ReplaceAll(settings, "@SHARE@", b.path("usr", "share", "php"))
	return os.WriteFile(b.path("conf.d", "10-gitd.ini"), []byte(text), 0o644)
}

// settings are PHP's. Sessions and uploads go to /tmp.
const settings = `date.timezone=UTC
display_errors=0
error_reporting=E_ALL & ~E_DEPRECATED
expose_php=0
include_path=".:@SHARE@"
log_errors=1
memory_limit=128M
opcache.enable=1
opcache.interned_strings_buffer=8
opcache.max_accelerated_files=20000
opcache.memory_consumption=64
opcache.revalidate_freq=60
post_max_size=64M
realpath_cache_size=4096K
session.save_path=/tmp
sys_temp_dir=/tmp
upload_max_filesize=64M
upload_tmp_dir=/tmp
variables_order=EGPCS
`

// relocate turns the places that Composer, as Debian has it, names.
func (b *build) relocate() error {
	program := b.path("usr", "bin", "composer")
	if kit.IsFile(program) {
		data, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		if _, rest, ok := bytes.Cut(data, []byte("\n")); ok && bytes.HasPrefix(data, []byte("#!")) {
			data = append([]byte("#!/usr/bin/env php\n"), rest...)
		}
		if err := os.WriteFile(program, data, 0o755); err != nil {
			return err
		}
	}
	share := b.path("usr", "share", "php")
	if !kit.IsDir(share) {
		return nil
	}
	return filepath.WalkDir(share, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".php" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, dir := range []string{"php", "misc"} {
			data = bytes.ReplaceAll(data, []byte("'/usr/share/"+dir), []byte("'"+b.path("usr", "share", dir)))
			data = bytes.ReplaceAll(data, []byte("\"/usr/share/"+dir), []byte("\""+b.path("usr", "share", dir)))
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		return os.Chtimes(path, made, made)
	})
}

// extensions makes the lines that load the extensions, in the order that their packages ask for.
func (b *build) extensions() (string, error) {
	type line struct {
		priority int
		text     string
	}
	var lines []line
	for _, glob := range []string{"usr/share/php" + b.line + "-*/*/*.ini", "etc/php/" + b.line + "/mods-available/*.ini"} {
		found, _ := filepath.Glob(b.path(glob)) // constant patterns but for the layer's path
		for _, f := range found {
			l := line{priority: 20}
			for text := range strings.Lines(kit.Text(f)) {
				text = strings.TrimSpace(text)
				if p, ok := strings.CutPrefix(text, "; priority="); ok {
					l.priority, _ = strconv.Atoi(p) // Debian's are numbers
				}
				if strings.HasPrefix(text, "extension=") || strings.HasPrefix(text, "zend_extension=") {
					l.text += text + "\n"
				}
			}
			if l.text != "" && !slices.Contains(lines, l) {
				lines = append(lines, l)
			}
		}
	}
	slices.SortFunc(lines, func(a, b line) int {
		if a.priority != b.priority {
			return a.priority - b.priority
		}
		return strings.Compare(a.text, b.text)
	})
	dirs, _ := filepath.Glob(b.path("usr/lib/php/20*")) // a constant pattern but for the layer's path
	dir := ""
	for _, d := range dirs { // another version's may be there by a dependency
		if found, _ := filepath.Glob(filepath.Join(d, "opcache.so")); len(found) > 0 || len(dirs) == 1 {
			dir = d
		}
	}
	if dir == "" {
		return "", kit.Errorf("clear the cache with git push -o clear-cache", "Debian's PHP %s lacks its extensions", b.line)
	}
	text := "extension_dir=" + dir + "\n"
	for _, l := range lines {
		text += l.text
	}
	return text, nil
}
