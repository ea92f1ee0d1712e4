package php

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// laravel has what Laravel's apps have, without the framework itself, which no registry has to be asked for.
var laravel = map[string]string{
	"composer.json": `{"name":"x/shop","require":{"php":"^8.2","ext-intl":"*","x/greet":"*"},"minimum-stability":"dev","autoload":{"psr-4":{"App\\":"app/"}},"scripts":{"post-autoload-dump":["@php artisan package:discover"]},
		"repositories":[{"packagist.org":false},{"type":"path","url":"packages/greet","options":{"symlink":false}}]}`,
	"packages/greet/composer.json": `{"name":"x/greet","version":"1.2.0","autoload":{"psr-4":{"Greet\\":"src/"}}}`,
	"packages/greet/src/Hi.php":    `<?php namespace Greet; class Hi { static function say() { return "hi"; } }`,
	"artisan":                      `<?php echo "artisan $argv[1] ", getenv("APP_ENV"), " ", is_dir("storage/framework/views") ? "with folders" : "", "\n";`,
	"app/Home.php":                 `<?php namespace App; class Home { static function page() { return \Greet\Hi::say() . " " . (extension_loaded("intl") ? "intl" : "") . " " . getenv("APP_ENV") . " " . file_get_contents(__DIR__ . "/../public/app.js"); } }`,
	"public/index.php":             `<?php require __DIR__ . "/../vendor/autoload.php"; echo App\Home::page(), " ", $_SERVER["REQUEST_URI"];`,
	"package.json":                 `{"scripts":{"build":"node make.cjs"}}`,
	"make.cjs":                     `require("fs").writeFileSync("public/app.js", "asset")`,
}

// TestBuildKinds builds apps with Debian's PHP, serves them, and builds them again.
func TestBuildKinds(t *testing.T) {
	bptest.Debian(t)
	cache := t.TempDir()
	for _, k := range []struct {
		name  string
		files map[string]string
		path  string
		want  string
		said  string
		warm  []string // layers that a change of the code leaves alone
	}{
		{"one file", map[string]string{"index.php": `<?php echo "plain ", $_SERVER["REQUEST_URI"], " ", extension_loaded("Zend OPcache") && extension_loaded("mysqli") && extension_loaded("gd") ? "all" : "some"; // imagepng($x)`,
			".htaccess": "RewriteRule . index.php"}, "/a/b?c=d", "plain /a/b?c=d all", ".htaccess is Apache's", []string{"php", "nginx", "server", "framework"}},
		{"Composer, artisan and assets", laravel, "/shop", "hi intl production asset /shop", "artisan package:discover production with folders", []string{"nginx", "server", "framework"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			var out bytes.Buffer
			r := bptest.New(t, catalog.PHP)
			r.Env["BP_CACHE_MOUNT"] = cache // for Debian's packages
			b := New(&out)
			node, err := exec.LookPath("node")
			if err != nil {
				t.Fatalf("these tests need node: apt-get install nodejs npm")
			}
			b.Node.Root = filepath.Dir(filepath.Dir(node))
			built, err := r.Build(b, k.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if !strings.Contains(out.String(), k.said) {
				t.Errorf("the build does not say %q: %s", k.said, out.String())
			}
			web := built.Processes["web"]
			cmd := exec.Command("bash", append([]string{r.Layers + "/server/bin/" + web.Command}, web.Arguments...)...)
			cmd.Env = append([]string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}, r.LaunchEnv()...)
			get := bptest.Serve(t, r, cmd, bptest.Port(t))
			if got := get(k.path); got != k.want {
				t.Errorf("the app says %q, want %q", got, k.want)
			}
			k.files["README"] = "changed"
			if _, err := r.Build(b, k.files); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			for _, layer := range k.warm {
				if !r.Reused(layer) {
					t.Errorf("%s was made again: %s", layer, out.String())
				}
			}
		})
	}
}
