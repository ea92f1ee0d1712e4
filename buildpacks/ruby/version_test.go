package ruby

import (
	"io"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestVersion: the version is read where tools write it, and met by a line of Debian's.
func TestVersion(t *testing.T) {
	const locked = "RUBY VERSION\n   ruby 3.1.4p223\n\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  string // the line on Debian 13, or a part of the error
	}{
		"nothing":                     {map[string]string{"Gemfile": ""}, "3.3"},
		"to the patch":                {map[string]string{"Gemfile": "ruby '3.3.5'\n"}, "3.3"},
		"a comment, CRLF and a BOM":   {map[string]string{"Gemfile": "\ufeffsource 'x'\r\nruby \"3.1.2\" # the old one\r\n"}, "3.1"},
		"in parentheses":              {map[string]string{"Gemfile": "ruby(\"~> 3.1.0\")\n"}, "3.1"},
		"two conditions":              {map[string]string{"Gemfile": "ruby '>= 3.2', '< 3.4'\n"}, "3.3"},
		"one text, two conditions":    {map[string]string{"Gemfile": "ruby '>= 3.2, < 3.4'\n"}, "3.3"},
		"pessimistic":                 {map[string]string{"Gemfile": "ruby '~> 3.2'\n"}, "3.3"},
		"the locked one breaks ties":  {map[string]string{"Gemfile": "ruby '>= 3.0'\n", "Gemfile.lock": locked}, "3.1"},
		"the lock file alone":         {map[string]string{"Gemfile": "", "Gemfile.lock": locked}, "3.1"},
		"file:":                       {map[string]string{"Gemfile": "ruby file: '.ruby-version'\n", ".ruby-version": "# old\nruby-3.1.6\n"}, "3.1"},
		"File.read":                   {map[string]string{"Gemfile": "ruby File.read('.ruby-version').strip\n", ".ruby-version": "3.1\n"}, "3.1"},
		".ruby-version":               {map[string]string{"Gemfile": "", ".ruby-version": "3.1.1\r\n"}, "3.1"},
		".tool-versions":              {map[string]string{"Gemfile": "", ".tool-versions": "nodejs 20\nruby 3.1.0 # x\n"}, "3.1"},
		"mise.toml":                   {map[string]string{"Gemfile": "", "mise.toml": "[tools]\nruby = \"3.1\"\n"}, "3.1"},
		"less than a patch":           {map[string]string{"Gemfile": "ruby '< 3.3.9'\n"}, "3.3"},
		"found out by a program":      {map[string]string{"Gemfile": "ruby ENV['RUBY'] || '3.1.2'\n"}, "3.1"},
		"commented out":               {map[string]string{"Gemfile": "# ruby '2.0'\n"}, "3.3"},
		"a gem named ruby-something":  {map[string]string{"Gemfile": "gem 'ruby-vips', '2.0'\n"}, "3.3"},
		"one that cannot be had":      {map[string]string{"Gemfile": "ruby '3.2.2'\n"}, "Gemfile asks for Ruby 3.2.2; Debian, which Ruby comes from, has 3.3 and 3.1"},
		"one that does not exist yet": {map[string]string{"Gemfile": "", ".ruby-version": "9.1\n"}, ".ruby-version asks for Ruby 9.1"},
		"no version":                  {map[string]string{"Gemfile": "", ".ruby-version": "three\n"}, `.ruby-version asks for Ruby "three", which is not a version`},
		"JRuby":                       {map[string]string{"Gemfile": "ruby '3.1.4', engine: 'jruby', engine_version: '9.4.8.0'\n"}, "Gemfile asks for jruby, and only the usual Ruby"},
		"TruffleRuby":                 {map[string]string{"Gemfile": "", ".ruby-version": "truffleruby-24.1\n"}, "asks for truffleruby-24.1, and only the usual Ruby"},
	} {
		t.Run(name, func(t *testing.T) {
			app := bptest.Tree(t, tt.files)
			b := readBundle(app)
			got := ""
			w, err := wantedVersion(app, &b)
			if err == nil {
				var r release
				r, err = w.choose(available["trixie"])
				got = r.line
			}
			if err != nil {
				got = kit.Line(err)
			}
			if !strings.HasPrefix(got, tt.want) && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestDetect: a Gemfile for tools alone is not an app of Ruby's, and a program beside another language's files neither.
func TestDetect(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string // what is said; "" for not detected
	}{
		"Gemfile":                    {map[string]string{"Gemfile": "gem 'sinatra'\nruby '3.3.1'\n"}, "Ruby (Gemfile, ruby 3.3.1)"},
		"gems.rb":                    {map[string]string{"gems.rb": "gem 'sinatra'\n", "gems.locked": "GEM\n"}, "Ruby (gems.locked, any ruby)"},
		"config.ru":                  {map[string]string{"config.ru": "run ->(e) { [200, {}, []] }"}, "Ruby (config.ru, any ruby)"},
		"app.rb":                     {map[string]string{"app.rb": "require 'socket'"}, "Ruby (app.rb, any ruby)"},
		"Procfile":                   {map[string]string{"Procfile": "web: ruby serve.rb", "serve.rb": ""}, "Ruby (Procfile, any ruby)"},
		"Rails with assets":          {map[string]string{"Gemfile": "gem 'rails'\n", "package.json": `{"scripts":{"build":"esbuild"}}`, "Procfile": "web: bundle exec puma\n"}, "Ruby (Gemfile, any ruby)"},
		"Jekyll":                     {map[string]string{"Gemfile": "gem 'jekyll'\n", "_config.yml": "title: x"}, "Jekyll site (Gemfile, any ruby)"},
		"Jekyll without a Gemfile":   {map[string]string{"_config.yml": "title: x", "_posts/a.md": ""}, "Jekyll site (_config.yml, any ruby)"},
		"Middleman":                  {map[string]string{"Gemfile": "gem 'middleman'\n", "config.rb": "", "source/a": ""}, "Middleman site (Gemfile, any ruby)"},
		"Jekyll that is served":      {map[string]string{"Gemfile": "gem 'jekyll'\n", "_config.yml": "", "Procfile": "web: bundle exec puma"}, "Ruby (Gemfile, any ruby)"},
		"CocoaPods":                  {map[string]string{"Gemfile": "source 'x'\ngem 'cocoapods', '>= 1.13'\ngem \"fastlane\"\n", "package.json": "{}"}, ""},
		"a program among other code": {map[string]string{"app.rb": "", "mix.exs": ""}, ""},
		"nothing":                    {map[string]string{"README": ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			passed, err := bptest.New(t, catalog.Ruby).Detect(New(&out), tt.files)
			if err != nil || passed != (tt.want != "") || passed && out.String() != "gitd-detect: "+tt.want+"\n" {
				t.Errorf("%v %v: %s", passed, err, out.String())
			}
		})
	}
}

// TestReason: the line that helps is found among Bundler's.
func TestReason(t *testing.T) {
	b := &build{Buildpack: New(io.Discard), line: "3.3", version: "3.3.8", bundle: bundle{file: "Gemfile"}}
	for said, want := range map[string]string{
		"checking for libpq-fe.h... no\nCan't find the 'libpq-fe.h header\nAn error occurred while installing pg (1.5.4), and Bundler\ncannot continue.":                                `the gem pg 1.5.4 needs libpq-fe.h, of the Debian package libpq-dev; add to project.toml: [io.gitd.build] packages = ["libpq-dev"]`,
		"x.c:1:10: fatal error: sqlite3.h: No such file or directory\nAn error occurred while installing sqlite3 (1.7.3), and Bundler cannot continue.":                                 `packages = ["libsqlite3-dev"]`,
		"extconf.rb failed\nAn error occurred while installing odd (1.0), and Bundler cannot continue.":                                                                                 "the gem odd 1.0 cannot be installed; the lines above say why",
		"Your bundle only supports platforms [\"arm64-darwin-23\"] but your local platform is x86_64-linux.":                                                                            "run bundle lock --add-platform " + platform(),
		"The gemspecs for path gems changed, but the lockfile can't be updated because frozen mode is set":                                                                              "the lock file does not fit the Gemfile; run bundle install",
		"Could not reach host gems.example.org. Check your network connection and try again.":                                                                                           "gems.example.org cannot be reached",
		"Could not find gem 'nonesuch' in rubygems repository https://gems.example.org/ or installed locally.":                                                                          "no source has the gem nonesuch",
		"Could not find rack-99.0.0 in locally installed gems":                                                                                                                          "no source has rack-99.0.0",
		"nokogiri-1.18.0 requires ruby version >= 3.5, which is incompatible with the current version, 3.3.8":                                                                           "nokogiri-1.18.0 is for Ruby >= 3.5, and this is 3.3.8",
		"The git source https://github.com/a/b.git is not yet checked out.":                                                                                                             "a gem's repository cannot be fetched: https://github.com/a/b.git",
		"Could not find compatible versions\n\nBecause a >= 2 depends on b < 1":                                                                                                         "the gems contradict one another",
		"checking for ruby.h... yes\nchecking for -lfoo... no\ncannot find -lfoo\nAn error occurred while installing foo (2.0), and Bundler cannot continue.":                           `the gem foo 2.0 needs the library foo; add to project.toml: [io.gitd.build] packages = ["libfoo-dev"]`,
		"Failed to build\nsh: 1: cmake: not found\nAn error occurred while installing rugged (1.7.2), and Bundler cannot continue.":                                                     `the gem rugged 1.7.2 needs cmake, of the Debian package cmake`,
		"Bad username or password for https://gems.example.com/. Please double-check your credentials and correct them.":                                                                "a server of gems wants credentials",
		"Your bundle is locked to net-imap (0.4.19) from rubygems repository\nhttps://gems.example.org/ or installed locally, but that version can no longer be\nfound in that source.": "no source has net-imap (0.4.19), which the lock file names; run bundle update net-imap",
		"Could not find compatible versions\n\n  So, because net-smtp >= 0 could not be found in rubygems repository\n  https://gems.example.org/":                                      "no source has net-smtp >= 0",
		"Gem::RemoteFetcher::FetchError: bad response Not Found 404 (https://gems.example.com/gems/a-1.gem)\nAn error occurred while installing a (1), and Bundler cannot continue.":    "https://gems.example.com/gems/a-1.gem: Not Found 404",
		"all is well but for this": "bundle install failed",
	} {
		if got := kit.Line(b.reason(said, kit.Errorf("", "bundle install failed"))); !strings.Contains(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", said, got, want)
		}
	}
}

// FuzzBundle: no Gemfile and no lock file brings the readers down, and what is found lies within the text.
func FuzzBundle(f *testing.F) {
	f.Add("ruby '3.3.5', engine: 'ruby'\ngem \"a\"\n", lock)
	f.Add("ruby(\"~> 3.1\")", "RUBY VERSION\n  ruby 3.1.0p1\nPLATFORMS\n x\n")
	f.Fuzz(func(t *testing.T, gemfile, locked string) {
		b := bundle{text: gemfile, gems: map[string]string{}}
		b.readLock(locked)
		if d := b.directive(); d != nil && (d.start > d.end || d.end > len(gemfile)) {
			t.Errorf("the directive is at %d to %d of %d bytes", d.start, d.end, len(gemfile))
		} else if d != nil {
			for _, text := range d.requirements {
				if r, err := parseRequirement(text); err == nil {
					r.fits([]int{3, 3})
				}
			}
		}
	})
}
