package ruby

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// native is a gem that is compiled.
var native = map[string]string{
	"ext/answer/extconf.rb": "require 'mkmf'\nabort 'gmp.h is missing' unless have_header('gmp.h')\ncreate_makefile('answer/answer')\n",
	"ext/answer/answer.c":   "#include <ruby.h>\nstatic VALUE answer(VALUE self) { return INT2NUM(42); }\nvoid Init_answer(void) { rb_define_global_function(\"answer\", answer, 0); }\n",
	"lib/answer.rb":         "require 'answer/answer'\n",
	"exe/answer-server":     server("answer"),
}

// server is a program that answers requests on $PORT with what an expression says.
func server(expression string) string {
	return "require 'socket'\nrequire 'answer'\nserver = TCPServer.new('0.0.0.0', Integer(ENV.fetch('PORT')))\ntrap('TERM') { exit }\nloop do\n  client = server.accept\n  while (line = client.gets) && line != \"\\r\\n\"; end\n" +
		"  body = (" + expression + ").to_s\n  client.write \"HTTP/1.1 200 OK\\r\\nContent-Length: #{body.bytesize}\\r\\nConnection: close\\r\\n\\r\\n#{body}\"\n  client.close\nend\n"
}

const lock = "GEM\n  remote: https://rubygems.org/\n  specs:\n    answer (1.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  answer\n\nBUNDLED WITH\n   2.3.7\n"

// command is the process of a build with the environment that its layers give it.
func command(t *testing.T, r *bptest.Run, p libcnb.Process) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(p.Command, p.Arguments...)
	cmd.Env = []string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
	cmd.Env = append(cmd.Env, r.LaunchEnv()...)
	return cmd
}

// kind is an app, and what it answers.
type kind struct {
	name  string
	files map[string]string
	want  string // the answer begins so
	said  string // a part of what the build says
}

// TestBuildKinds builds apps with Debian's Ruby and starts them, and builds them again.
func TestBuildKinds(t *testing.T) {
	bptest.Debian(t)
	cache := t.TempDir()
	for _, k := range []kind{
		{"gem that is compiled, version to the patch", map[string]string{
			"Gemfile": "source 'https://rubygems.org'\nruby '3.1.0' # as it is written\ngem 'answer'\n", "Gemfile.lock": lock,
			"app.rb": server("\"#{answer} #{ENV['RACK_ENV']} #{RbConfig::CONFIG['prefix']}\""), "vendor/cache/answer-1.0.gem": gem(t, "answer", "1.0", native),
		}, "42 production LAYERS/ruby/usr", "In the image, the Gemfile says"},
		{"no lock file, a gem of the app's own", map[string]string{
			"Gemfile": "gem 'answer', path: 'answer'\n", "app.rb": server("answer + 1"), "answer/lib/answer.rb": "def answer = 42\n",
			"answer/answer.gemspec": "Gem::Specification.new { |s| s.name = 'answer'; s.version = '1'; s.summary = 'x'; s.authors = ['x']; s.files = ['lib/answer.rb'] }\n",
		}, "43", "Warning: there is no Gemfile.lock"},
		{"config.ru alone", map[string]string{"config.ru": "require 'rack'\nrun ->(env) { [200, {}, [\"rack #{env['PATH_INFO']} #{Rack.release}\"]] }\n"}, "rack / ", "Ruby 3."},
	} {
		t.Run(k.name, func(t *testing.T) { testKind(t, k, cache) })
	}
	t.Run("Jekyll without a Gemfile", func(t *testing.T) { testJekyll(t, cache) })
}

// testJekyll builds a site with Debian's Jekyll, a theme and a plugin: nothing is asked of a server of gems.
func testJekyll(t *testing.T, cache string) {
	t.Helper()
	var out bytes.Buffer
	r := bptest.New(t, catalog.Ruby)
	r.Env["BP_CACHE_MOUNT"] = cache
	built, err := r.Build(New(&out), map[string]string{
		"_config.yml": "title: Shop\ntheme: minima\nplugins:\n  - jekyll-sitemap # for search\nurl: https://shop.example\n",
		"index.md":    "---\nlayout: home\n---\nHello from *Jekyll*\n", "_posts/2026-01-02-first.md": "---\ntitle: First\n---\nA post\n",
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for file, want := range map[string]string{"index.html": "<em>Jekyll</em>", "2026/01/02/first.html": "A post", "sitemap.xml": "https://shop.example/", "assets/main.css": "site-header"} {
		if got := kit.Text(r.App, "_site", file); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %s", file, got, want)
		}
	}
	if len(built.Processes) > 0 || kit.Exists(r.App, "Gemfile") {
		t.Errorf("the site has %v", built.Processes)
	}
}

func testKind(t *testing.T, k kind, cache string) {
	t.Helper()
	var out bytes.Buffer
	r := bptest.New(t, catalog.Ruby)
	r.Env["BP_CACHE_MOUNT"] = cache // for Debian's packages
	b := New(&out)
	built, err := r.Build(b, k.files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), k.said) {
		t.Errorf("the build does not say %q: %s", k.said, out.String())
	}
	get := bptest.Serve(t, r, command(t, r, built.Processes["web"]), bptest.Port(t))
	if got := get("/"); !strings.HasPrefix(got, strings.ReplaceAll(k.want, "LAYERS", r.Layers)) {
		t.Errorf("the app says %q, want %q", got, k.want)
	}
	out.Reset()
	k.files["README"] = "changed"
	if _, err := r.Build(b, k.files); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for layer := range built.Metadata {
		if !r.Reused(layer) {
			t.Errorf("%s was made again: %s", layer, out.String())
		}
	}
}
