package ruby

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// The source that stands for Ruby's: what configure writes installs a ruby that runs programs of Python's.
const (
	standInConfigure = `#!/bin/sh
[ ! -f refuses ] || { echo "checking for gcc... no"; echo "configure: error: no acceptable C compiler found in \$PATH" >&2; exit 1; }
printf 'all:\n\techo %s >made\ninstall:\n\tmkdir -p $(DESTDIR)/usr/bin $(DESTDIR)/usr/share/doc && cp ruby.sh $(DESTDIR)/usr/bin/ruby\n' "'$*'" >Makefile
`
	standInRuby = `#!/bin/sh
case "$1" in -r*) exit 0 ;; esac
exec python3 "$@"
`
	standInApp = `import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ.get("RUBYLIB", "hello").encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`
)

// sourceMirror is a folder as the Ruby project's server has it.
func sourceMirror(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	index := "name\turl\tsha1\tsha256\tsha512\n"
	for _, version := range []string{"3.4.0", "3.4.1", "3.2.9", "3.2.8", "2.7.8", "3.5.0-preview1"} {
		root := filepath.Join(dir, "src", version)
		files := map[string]string{"configure": standInConfigure, "ruby.sh": standInRuby}
		if version == "3.2.8" {
			files["refuses"] = ""
		}
		for name, text := range files {
			if err := kit.WriteProgram(filepath.Join(root, "ruby-"+version, name), text); err != nil {
				t.Fatal(err)
			}
		}
		archive := filepath.Join(dir, "pub/ruby", "ruby-"+version+".tar.xz")
		if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("tar", "-cJf", archive, "-C", root, "ruby-"+version).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		sum, err := kit.FileKey(archive)
		if err != nil {
			t.Fatal(err)
		}
		if version == "3.4.0" {
			sum = strings.Repeat("0", 64)
		}
		index += fmt.Sprintf("ruby-%s\t%s/pub/ruby/ruby-%s.tar.gz\tx\t%s\tx\nruby-%s\t%s/pub/ruby/ruby-%s.tar.xz\tx\t%s\tx\n", version, sourceServer, version, strings.Repeat("1", 64), version, sourceServer, version, sum)
	}
	if err := os.WriteFile(filepath.Join(dir, indexPath), []byte(index), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + dir
}

// TestSource: a Ruby that Debian has not is compiled once, and taken over after that; what is said where it cannot be had.
func TestSource(t *testing.T) {
	bptest.Debian(t)
	mirror := sourceMirror(t)
	for _, c := range []struct {
		name, version, mirror string
		said                  string
		err                   string // a part of it
	}{
		{"to the patch", "3.4.1", mirror, "Ruby 3.4.1 (compiled from its source)", ""},
		{"a line", "3.4", mirror, "Ruby 3.4.1 (compiled from its source)", ""},
		{"a range", "~> 3.2.5", mirror, "Ruby 3.2.9 (compiled from its source)", ""},
		{"damaged", "3.4.0", mirror, "", "does not have the digest that its index says"},
		{"does not compile", "3.2.8", mirror, "", "Ruby 3.2.8 cannot be compiled: configure failed (exit status 1): no acceptable C compiler found in $PATH"},
		{"no such version", "3.4.99", mirror, "", "or for one of these, which are compiled from their sources: 3.4.1, 3.2.9"},
		{"too old", "2.7.8", mirror, "", ".ruby-version asks for Ruby 2.7.8; Debian, which Ruby comes from, has"},
		{"no server", "3.4.1", "http://127.0.0.1:1", "", "and its source cannot be had: 127.0.0.1 cannot be reached"},
		{"no mirror", "3.4.1", mirror + "/none", "", "or set RUBY_MIRROR for the server to a mirror"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := bptest.New(t, catalog.Ruby)
			r.Env[settingMirror] = c.mirror
			files := map[string]string{".ruby-version": c.version + "\n", "app.rb": standInApp}
			built, err := r.Build(New(&out), files)
			if c.err != "" {
				if err == nil || !strings.Contains(kit.Line(err), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if !strings.Contains(out.String(), c.said) || !strings.Contains(out.String(), "Compiling Ruby") {
				t.Errorf("it says %s, want %s", out.String(), c.said)
			}
			get := bptest.Serve(t, r, command(t, r, built.Processes["web"]), bptest.Port(t))
			if got := get("/"); got != "hello" {
				t.Errorf("the app says %q", got)
			}
			out.Reset()
			if _, err := r.Build(New(&out), files); err != nil {
				t.Fatal(err)
			}
			if !r.Reused("ruby") || strings.Contains(out.String(), "Compiling") {
				t.Errorf("Ruby was made again: %s", out.String())
			}
		})
	}
}
