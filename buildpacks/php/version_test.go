package php

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestVersion: Composer's grammar is understood, and met by a line of Debian's.
func TestVersion(t *testing.T) {
	for text, want := range map[string]string{
		"": "8.4", "*": "8.4", "^8.1": "8.4", "~8.1": "8.4", "~8.2.0": "8.2", "8.2.*": "8.2", ">=8.1 <8.4": "8.2", ">=8.1, <8.3": "8.2", "^7.4|^8.0": "8.4", "^7.4 || ~8.2.0": "8.2", "8.1 - 8.3": "8.2",
		"8.2.11": "8.2", ">= 8.0": "8.4", "8.2": "8.2", "^8.4.3": "8.4", "^8.2@stable": "8.4", "<8.4": "8.2", "v8.4": "8.4",
		"^7.4":   "composer.json asks for PHP ^7.4; Debian, which PHP comes from, has 8.4 and 8.2",
		"~8.3.0": "composer.json asks for PHP ~8.3.0", "^9": "composer.json asks for PHP ^9", "eight": `composer.json asks for PHP "eight", which is not a version`,
	} {
		w, err := wantedVersion(t.TempDir(), &composer{Require: map[string]string{"php": text}})
		got := ""
		if err == nil {
			var r release
			r, err = w.choose(available["trixie"])
			got = r.line
		}
		if err != nil {
			got = kit.Line(err)
		}
		if got != want && (err == nil || !strings.HasPrefix(got, want)) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// TestDetect: an app is one of PHP by what it has, also beside assets.
// TestEvidence: the source of a program in PHP is not handed out as one of a site's files.
func TestEvidence(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"contact.php":       {"index.html": "", "contact.php": ""},
		"forms/contact.php": {"index.html": "", "forms/contact.php": ""},
		"about.php":         {"home.php": "", "about.php": ""},
		"":                  {"index.html": "", "vendor/a.php": "", ".github/x.php": "", "node_modules/a/b.php": ""},
	} {
		if got := evidence(bptest.Tree(t, files)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDetect(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"Laravel with assets":   {map[string]string{"composer.json": `{"require":{"php":"^8.2"}}`, "package.json": `{"scripts":{"build":"vite build"}}`, "artisan": ""}, "PHP (composer.json, php ^8.2)"},
		"one file":              {map[string]string{"index.php": "", "index.html": ""}, "PHP (index.php, any php)"},
		"a file of a version":   {map[string]string{"public/index.php": "", ".php-version": "8.2.5\n"}, "PHP (public/index.php, php 8.2.5)"},
		"Procfile":              {map[string]string{"Procfile": "web: heroku-php-nginx site/", "site/a.php": ""}, "PHP (Procfile, any php)"},
		"a list for no require": {map[string]string{"composer.json": `{"require":[]}`}, "PHP (composer.json, any php)"},
		"nothing":               {map[string]string{"a.txt": ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			passed, err := bptest.New(t, catalog.PHP).Detect(New(&out), tt.files)
			if err != nil || passed != (tt.want != "") || passed && out.String() != "gitd-detect: "+tt.want+"\n" {
				t.Errorf("%v %v: %s", passed, err, out.String())
			}
		})
	}
	if _, err := bptest.New(t, catalog.PHP).Detect(New(&strings.Builder{}), map[string]string{"composer.json": "{,}"}); err == nil || !strings.Contains(kit.Line(err), "composer.json is not valid JSON") {
		t.Errorf("malformed: %v", err)
	}
}

// TestReason: the line that helps is found among Composer's.
func TestReason(t *testing.T) {
	b := &build{line: "8.4", version: "8.4.27", composer: &composer{}}
	for said, want := range map[string]string{
		"  - laravel/framework v11.0.0 requires php ^8.5 -> your php version (8.4.27) does not satisfy that requirement.":                                          "laravel/framework requires PHP ^8.5, and this is 8.4.27",
		"  - x/y is locked to version 1.0 and an update of this package was not requested.\n  - x/y 1.0 requires ext-imagick * -> it is missing from your system.": "the extension imagick is missing",
		"curl error 6 while downloading https://packages.example.org/packages.json: Could not resolve host: packages.example.org":                                  "packages.example.org cannot be reached",
		"- Required package \"a/b\" is not present in the lock file.":                                                                                              "composer.lock does not fit composer.json",
		"- Root composer.json requires a/b, it could not be found in any version":                                                                                  "no repository has a/b",
		"Script @php artisan package:discover handling the post-autoload-dump event returned with error code 1":                                                    "the script @php artisan package:discover failed",
	} {
		if got := kit.Line(b.reason(said, kit.Errorf("", "composer install failed"))); !strings.Contains(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", said, got, want)
		}
	}
}
