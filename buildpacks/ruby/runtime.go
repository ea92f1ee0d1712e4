package ruby

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// libraries are the Debian packages that gems are compiled with and that they then run on, by the gem. Other gems bring what they need.
var libraries = map[string][]string{
	"pg": {"libpq-dev"}, "mysql2": {"default-libmysqlclient-dev"}, "trilogy": {"libssl-dev"}, "psych": {"libyaml-dev"}, "rmagick": {"libmagickwand-dev"}, "mini_magick": {"imagemagick"},
	"ruby-vips": {"libvips42"}, "charlock_holmes": {"libicu-dev"}, "curb": {"libcurl4-openssl-dev"}, "rugged": {"cmake", "libssl-dev", "libssh2-1-dev"}, "idn-ruby": {"libidn-dev"},
	"tiny_tds": {"freetds-dev"}, "openssl": {"libssl-dev"}, "eventmachine": {"libssl-dev"}, "puma": {"libssl-dev"}, "ffi": {"libffi-dev"}, "fiddle": {"libffi-dev"}, "sqlite3": {"libsqlite3-dev"},
	"nokogiri": {"libxml2-dev", "libxslt1-dev"}, "ruby-ldap": {"libldap2-dev"}, "zookeeper": {"libzookeeper-mt-dev"}, "snappy": {"libsnappy-dev"}, "re2": {"libre2-dev"}, "rdkafka": {"librdkafka-dev"},
	"gpgme": {"libgpgme-dev"}, "zbar": {"libzbar-dev"}, "poppler": {"libpoppler-glib-dev"}, "wkhtmltopdf-binary": {"libxrender1", "libxext6", "fontconfig"}, "image_processing": {"libvips42", "imagemagick"},
}

// packaged are gems that come compiled for the platforms of the lock file: they need no library of the system then.
var packaged = []string{"nokogiri", "sqlite3", "ffi", "re2", "rdkafka", "trilogy"}

// packages is what is asked of Debian: Ruby's own packages, all named, to come from the same release, and libraries, which are the image's own release's.
func (b *build) packages() (list, libs []string) {
	list = []string{"libruby" + b.line, "ruby" + b.line, "ruby" + b.line + "-dev"}
	if b.bundle.file == "" && kit.IsFile(b.app, "config.ru") { // Debian's gems will do
		list = append(list, "puma", "ruby-rack")
	}
	list = append(list, b.jekyll...)
	built := slices.ContainsFunc(b.bundle.platforms, func(p string) bool { return p == platform() || p == platform()+"-gnu" })
	for gem, packages := range libraries {
		if b.bundle.has(gem) && !(built && slices.Contains(packaged, gem)) {
			libs = append(libs, packages...)
		}
	}
	return list, libs
}

// resolve finds out which packages the Ruby comes to, and says which it is.
func (b *build) resolve(r release) error {
	ruby, libs := b.packages()
	var err error
	if b.set, err = b.tool.Resolve(debs.Request{Packages: slices.Concat(ruby, libs), Suite: r.suite, Own: libs, Launch: true}); err != nil {
		return err
	}
	b.version = b.set.Version("libruby" + b.line)
	if b.version == "" { // the image has it
		b.version = r.line
	}
	if _, really, ok := strings.Cut(b.version, "+really"); ok {
		b.version = really
	}
	b.version, _, _ = strings.Cut(b.version, "+") // what Debian adds
	kit.Say(b.Out, "Ruby %s (Debian)", b.version)
	if len(b.wanted.texts) > 0 && !b.exact() {
		kit.Say(b.Out, "%s asks for Ruby %s: Debian's %s has its fixes, and serves", b.wanted.from, strings.Join(b.wanted.texts, ", "), b.version)
	}
	b.ruby, err = kit.OpenLayer(b.ctx, "ruby")
	return err
}

// exact tells whether the version is what is asked for to the letter.
func (b *build) exact() bool {
	for _, r := range b.wanted.all {
		if len(r.version) > 2 && !r.allows(numbers(b.version)) {
			return false
		}
	}
	return true
}

// layout is raised when the same packages make another layer than before.
const layout = "2"

// installRuby fills Ruby's layer, or takes it over. With content, it is there for the build in any case.
func (b *build) installRuby(content bool) error {
	types := libcnb.LayerTypes{Launch: b.site == nil, Cache: b.needed()}
	key := func() string { return kit.Key(b.rubyKey(), layout) }
	keep, err := b.ruby.Keep(types, key())
	if err != nil {
		return err
	}
	if !keep || content && !kit.IsDir(b.ruby.Path) {
		if err := b.ruby.Reset(types, ""); err != nil {
			return err
		}
		if err := b.tool.Install(b.set, b.ruby.Path); err != nil {
			return err
		}
		if err := b.fill(); err != nil {
			return err
		}
		b.ruby.SetKey(key()) // Install may have found newer packages
	}
	if kit.IsDir(b.ruby.Path) {
		b.rubyEnv()
	}
	packages := b.set.SBOM()
	if b.source != nil {
		packages = append(packages, kit.Package{Name: "ruby", Version: b.version, PURL: "pkg:generic/ruby"})
	}
	return kit.WriteSBOM(b.ruby.Layer, packages)
}

// fill adds to Debian's packages in the layer what makes them Ruby.
func (b *build) fill() error {
	if b.source == nil {
		return b.settle()
	}
	dir, err := b.compiled(*b.source)
	if err != nil {
		return err
	}
	return kit.CopyTree(dir, b.ruby.Path, nil)
}

// root is the folder that stands for /usr.
func (b *build) usr(elem ...string) string {
	return filepath.Join(append([]string{b.ruby.Path, "usr"}, elem...)...)
}

// api is the version of the library's folders: "3.3.0".
func (b *build) api() string { return b.line + ".0" }

// relocated is added to Ruby's configuration, which RubyGems reads before all else.
const relocated = `
# The library is not where Ruby was compiled for: the folders that RUBYLIB names take the places of those, behind what gems bring.
$LOAD_PATH.reject! { |dir| dir.instance_variable_defined?(:@gem_prelude_index) }
$LOAD_PATH.map! { |dir| dir.start_with?(RbConfig::TOPDIR + "/") ? dir.dup.tap { |d| d.instance_variable_set(:@gem_prelude_index, d) } : dir }
`

// settle makes Debian's Ruby work from the layer: its configuration finds out by itself where it is, but for the order of the folders.
func (b *build) settle() error {
	config := b.archDir("rbconfig.rb")
	data, err := os.ReadFile(config)
	if err != nil {
		return kit.Errorf("clear the cache with git push -o clear-cache", "Debian's Ruby %s lacks its configuration: %v", b.line, err)
	}
	if err := os.WriteFile(config, append(data, relocated...), 0o644); err != nil {
		return err
	}
	// The programs of the version's own RubyGems and Bundler, not those that Debian patches for its packages.
	for _, name := range []string{"ruby", "gem", "bundle", "bundler", "rake", "irb", "erb", "rdoc", "racc"} {
		if !kit.IsFile(b.usr("bin", name+b.line)) {
			continue
		}
		link := b.usr("bin", name)
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(name+b.line, link); err != nil {
			return err
		}
	}
	times := []string{config, b.usr("bin")}
	// Debian's gem names the library by its place.
	natives, _ := filepath.Glob(b.usr("share", "rubygems-integration", "all", "gems", "sassc-*", "lib", "sassc", "native.rb")) // a constant pattern but for the layer's path
	for _, f := range natives {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f, []byte(strings.ReplaceAll(string(text), `"/usr/lib/`, `"`+b.usr("lib")+"/")), 0o644); err != nil {
			return err
		}
		times = append(times, f)
	}
	for _, f := range times {
		if err := os.Chtimes(f, made, made); err != nil {
			return err
		}
	}
	return nil
}

// made is the date that files of an image have.
var made = time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)

// archDir is a file in the folder of the library that is for one architecture.
func (b *build) archDir(elem ...string) string {
	found, _ := filepath.Glob(b.usr("lib", "*-linux-gnu*", "ruby", b.api())) // a constant pattern but for the layer's path
	if len(found) == 0 {
		return b.usr("lib", "ruby", b.api(), "none")
	}
	return filepath.Join(append([]string{found[0]}, elem...)...)
}

// rubyEnv sets the environment of builds and of the app.
func (b *build) rubyEnv() {
	path := strings.Join([]string{b.usr("lib", "ruby", b.api()), b.archDir()}, ":")
	if b.source == nil && b.bundle.file == "" { // what Ruby itself once had, such as webrick, is a package of Debian's
		arch := filepath.Dir(b.archDir())
		path = strings.Join([]string{path, b.usr("lib", "ruby", "vendor_ruby"), filepath.Join(arch, "vendor_ruby", b.api())}, ":")
		integration := b.usr("share", "rubygems-integration")
		gemPath := strings.Join([]string{filepath.Join(integration, "all"), filepath.Join(integration, b.api()),
			filepath.Join(filepath.Dir(arch), "rubygems-integration", b.api()), b.usr("lib", "ruby", "gems", b.api())}, ":")
		b.env["GEM_PATH"] = gemPath
		b.ruby.LaunchEnvironment.Default("GEM_PATH", gemPath)
	}
	variables := debs.Environment(b.ruby.Path)
	variables.AddTo(b.env)
	variables.SetLayer(b.ruby)
	launch := b.ruby.LaunchEnvironment
	if b.source == nil { // another one finds its library by where it is itself
		b.env["RUBYLIB"] = path
		launch.Prepend("RUBYLIB", ":", path)
	}
	for name, value := range map[string]string{"LANG": "C.UTF-8", "RACK_ENV": "production", "APP_ENV": "production", "RAILS_ENV": "production", "HANAMI_ENV": "production",
		"RAILS_LOG_TO_STDOUT": "enabled", "RAILS_SERVE_STATIC_FILES": "enabled", "MALLOC_ARENA_MAX": "2", "PIDFILE": "/tmp/server.pid"} {
		launch.Default(name, value)
	}
}
