package rust

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// mirror serves toolchains whose programs print what they are, as the Rust project's server would.
func mirror(t *testing.T, versions map[string]string) (url string, damage func()) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) []byte {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return []byte(content)
	}
	for channel, version := range versions {
		text := "manifest-version = \"2\"\n"
		for pkg, file := range map[string]string{"rustc": "bin/rustc", "cargo": "bin/cargo", "rust-std": "lib/rustlib/" + host() + "/lib/std"} {
			name := pkg + "-" + version + "-" + host()
			write("src/"+name+"/"+pkg+"/"+file, "#!/bin/sh\necho "+pkg+" "+version+"\n", 0o755)
			write("src/"+name+"/"+pkg+"/share/doc/x", "", 0o644)
			archive := filepath.Join(dir, "dist", name+".tar.xz")
			if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("tar", "-cJf", archive, "-C", filepath.Join(dir, "src"), name).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			sum, err := kit.FileKey(archive)
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("[pkg.%s]\nversion = \"%s (abc 2026-01-01)\"\n[pkg.%s.target.%s]\navailable = true\nxz_url = \"%s/dist/%s.tar.xz\"\nxz_hash = \"%s\"\n", pkg, version, pkg, host(), distServer, name, sum)
		}
		manifest := "dist/channel-rust-" + channel + ".toml"
		write(manifest+".sha256", digest(write(manifest, text, 0o644))+"  x\n", 0o644)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL, func() {
		found, _ := filepath.Glob(filepath.Join(dir, "dist/*.tar.xz"))
		for _, f := range found {
			write(strings.TrimPrefix(f, dir), "damaged", 0o644)
		}
	}
}

// TestToolchain: which toolchain builds an app, and what is said where one cannot be had.
func TestToolchain(t *testing.T) {
	server, _ := mirror(t, map[string]string{"stable": "1.99.0", "1.70": "1.70.2", "nightly": "1.101.0-nightly"})
	damaged, damage := mirror(t, map[string]string{"1.70": "1.70.2"})
	damage()
	const nowhere = "http://127.0.0.1:1"
	tests := []struct {
		name    string
		files   map[string]string
		minimum string
		server  string
		want    string
		err     string // a part of it
		said    string
	}{
		{"any", nil, "", nowhere, "1.95.0 of the builder", "", ""},
		{"an older one will do", nil, "1.60", nowhere, "1.95.0 of the builder", "", ""},
		{"the builder's", map[string]string{"rust-toolchain": "1.95\n"}, "", nowhere, "1.95.0 of the builder", "", ""},
		{"fetched", map[string]string{"rust-toolchain.toml": "[toolchain]\nchannel = \"1.70\"\ncomponents = [\"clippy\"]\n"}, "", server, "1.70.2 of the Rust project", "", "Fetching Rust 1.70.2"},
		{"newer", nil, "1.98", server, "1.99.0 of the Rust project", "", ""},
		{"nightly", map[string]string{"rust-toolchain": "nightly"}, "", server, "1.101.0-nightly of the Rust project", "", ""},
		{"asdf", map[string]string{".tool-versions": "rust 1.70 # old\n"}, "", server, "1.70.2 of the Rust project", "", ""},
		{"no such version", map[string]string{"rust-toolchain": "1.999.0"}, "", server, "", "rust-toolchain asks for Rust 1.999.0, which does not exist; name a released version", ""},
		{"not even the newest", nil, "1.200", server, "", "Cargo.toml asks for Rust 1.200, the newest is 1.99.0", ""},
		{"no such channel", map[string]string{"rust-toolchain": "latest please"}, "", server, "", `asks for the Rust toolchain "latest please", which is no channel`, ""},
		{"a target that there is not", map[string]string{"rust-toolchain.toml": "[toolchain]\nchannel = \"1.70\"\ntargets = [\"wasm32-x\"]\n"}, "", server, "", "this Rust has no rust-std for wasm32-x", ""},
		{"an older one without a network", map[string]string{"rust-toolchain": "1.70.0"}, "", nowhere, "1.95.0 of the builder", "", "Warning: Rust 1.70.0 cannot be fetched"},
		{"a newer one without a network", nil, "1.98", nowhere, "", "Cargo.toml asks for Rust 1.98 or newer, which cannot be fetched", ""},
		{"nightly without a network", map[string]string{"rust-toolchain": "nightly-2026-01-01"}, "", nowhere, "", "set RUSTUP_DIST_SERVER to a mirror; Rust 1.95.0 of the builder can be had", ""},
	}
	own := t.TempDir()
	for _, name := range []string{"rustc", "cargo"} {
		if err := os.MkdirAll(filepath.Join(own, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(own, "bin", name), []byte("#!/bin/sh\necho rustc 1.95.0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, said, err := find(t, own, tt.files, tt.minimum, tt.server)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(kit.Line(err), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if !strings.Contains(said, tt.said) {
				t.Errorf("it says %q, want %q", said, tt.said)
			}
		})
	}
	if _, said, err := find(t, own, map[string]string{"rust-toolchain": "1.70"}, "", damaged); err != nil || !strings.Contains(said, "does not have the digest that its manifest says") {
		t.Errorf("a damaged archive: %v %q", err, said)
	}
}

// find has the toolchain found for an app, and makes sure that what was fetched is there.
func find(t *testing.T, own string, files map[string]string, minimum, server string) (got, said string, err error) {
	t.Helper()
	all := map[string]string{"Cargo.toml": crate("a", `rust-version = "`+minimum+`"`), "src/main.rs": mainRS}
	for k, v := range files {
		all[k] = v
	}
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Rust)
	if _, err := r.Detect(Buildpack{Out: out}, all); err != nil {
		return "", "", err
	}
	b := Buildpack{Root: own, Out: out}
	env := kit.NewEnv(map[string]string{"RUSTUP_DIST_SERVER": server, "BP_CACHE_MOUNT": r.Env["BP_CACHE_MOUNT"]})
	f, err := look(r.App)
	if err != nil {
		return "", "", err
	}
	f.minimum = minimum
	w, err := wantedToolchain(r.App, env, f)
	if err != nil {
		return "", "", err
	}
	cache := kit.OpenCache(libcnb.BuildContext{}, env)
	tc, err := b.findToolchain(w, env, cache)
	if err != nil {
		return "", out.String(), err
	}
	printed, err := exec.Command(filepath.Join(tc.bin, "rustc")).Output()
	if err != nil || string(printed) != "rustc "+tc.version+"\n" {
		t.Errorf("its rustc prints %q %v", printed, err)
	}
	if kit.Exists(filepath.Dir(tc.bin), "share") {
		t.Error("the documentation is there")
	}
	return tc.version + " of " + tc.source, out.String(), nil
}
