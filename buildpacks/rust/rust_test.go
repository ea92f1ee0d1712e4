package rust

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

const mainRS = "fn main() {}\n"

func TestDetect(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		passed bool
		out    string
		err    string
	}{
		{"program", map[string]string{"Cargo.toml": "[package]\nname = \"a\"\n", "src/main.rs": mainRS}, true, "gitd-detect: Rust (Cargo.toml, any Rust)\n", ""},
		{"workspace", map[string]string{"Cargo.toml": "[workspace]\nmembers = [\"crates/*\"]\n[workspace.package]\nrust-version = \"1.70\"\n",
			"crates/a/Cargo.toml": "[package]\nname = \"a\"\nrust-version = \"1.80\"\n", "crates/a/src/main.rs": mainRS}, true, "gitd-detect: Rust (Cargo.toml, a workspace, Rust 1.80 or newer by Cargo.toml)\n", ""},
		{"toolchain", map[string]string{"Cargo.toml": "\ufeff[package]\r\nname = \"a\"\r\n", "src/main.rs": mainRS, "rust-toolchain": "1.85.1-x86_64-unknown-linux-gnu\r\n"}, true,
			"gitd-detect: Rust (Cargo.toml, Rust 1.85.1 by rust-toolchain)\n", ""},
		{"native part of a Python package", map[string]string{"Cargo.toml": "[package]\nname = \"a\"\n", "src/lib.rs": "", "pyproject.toml": "[build-system]\nrequires = [\"maturin\"]\n"}, false, "gitd-looked-for: Cargo.toml with a program\n", ""},
		{"tools of a server in Node.js", map[string]string{"Cargo.toml": "[workspace]\nmembers = [\"tools\"]\n", "tools/Cargo.toml": "[package]\nname = \"t\"\n", "tools/src/main.rs": mainRS,
			"package.json": `{"scripts":{"start":"node a.js"}}`, "a.js": ""}, false, "gitd-looked-for: Cargo.toml with a program\n", ""},
		{"a page", map[string]string{"Cargo.toml": "[package]\nname = \"a\"\n", "src/main.rs": mainRS, "index.html": "<link data-trunk rel=rust>"}, false, "",
			`the app is a page of WebAssembly (Trunk), which this builder does not compile; run trunk build --release, commit dist/, and write into project.toml: [io.gitd.build] buildpacks = ["static"], and BP_STATIC_ROOT = "dist" as a variable of the build`},
		{"nothing", map[string]string{"main.py": ""}, false, "gitd-looked-for: Cargo.toml\n", ""},
		{"malformed", map[string]string{"Cargo.toml": "[package\n"}, false, "", "Cargo.toml cannot be read: toml: line 1: expected '.' or ']' to end table name, but got '\\x00' instead; correct it: cargo check says the same"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			passed, err := bptest.New(t, catalog.Rust).Detect(Buildpack{Out: out}, tt.files)
			msg := ""
			if err != nil {
				msg = kit.Line(err)
			}
			if passed != tt.passed || out.String() != tt.out || msg != tt.err {
				t.Errorf("got %v %q %q, want %v %q %q", passed, out, msg, tt.passed, tt.out, tt.err)
			}
		})
	}
}

// tools returns the buildpack with the Rust of this machine for the builder's.
func tools(t *testing.T) (Buildpack, *bytes.Buffer) {
	t.Helper()
	root, err := exec.Command("rustc", "--print", "sysroot").Output()
	if err != nil {
		t.Fatalf("these tests need rustc and cargo: %v", err)
	}
	out := &bytes.Buffer{}
	return Buildpack{Root: strings.TrimSpace(string(root)), Out: out}, out
}

// crate writes a Cargo.toml of a package.
func crate(name, more string) string {
	return "[package]\nname = \"" + name + "\"\nversion = \"0.1.0\"\nedition = \"2021\"\n" + more + "\n"
}

// TestPrograms: which program is started, with cargo's own view of the packages.
func TestPrograms(t *testing.T) {
	member := func(name, more string) map[string]string {
		return map[string]string{name + "/Cargo.toml": crate(name, more), name + "/src/main.rs": mainRS}
	}
	with := func(maps ...map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range maps {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	workspace := map[string]string{"Cargo.toml": "[workspace]\nresolver = \"2\"\nmembers = [\"*\"]\nexclude = [\"target\"]\n"}
	tests := []struct {
		name  string
		files map[string]string
		asked string
		want  string
		err   string // a part of it
	}{
		{"the only one", map[string]string{"Cargo.toml": crate("shop", ""), "src/main.rs": mainRS}, "", "shop", ""},
		{"default-run", map[string]string{"Cargo.toml": crate("shop", `default-run = "b"`), "src/bin/a.rs": mainRS, "src/bin/b.rs": mainRS}, "", "b", ""},
		{"like the package", map[string]string{"Cargo.toml": crate("shop", ""), "src/main.rs": mainRS, "src/bin/tool.rs": mainRS}, "", "shop", ""},
		{"by the Procfile, with a worker", map[string]string{"Cargo.toml": crate("shop", ""), "src/main.rs": mainRS, "src/bin/api.rs": mainRS, "src/bin/work.rs": mainRS,
			"Procfile": "web: ./target/release/api\nworker: target/release/work\n"}, "", "api work", ""},
		{"the one that has it through a library of the app", with(workspace, member("a", ""), member("b", "[dependencies]\nc = { path = \"../c\" }"), map[string]string{"c/Cargo.toml": crate("c", "[dependencies]\naxum = \"0.8\""), "c/src/lib.rs": ""}), "", "b", ""},
		{"the one that has a web framework", with(workspace, member("a", ""), member("b", "[dependencies]\naxum = \"0.8\"")), "", "b", ""},
		{"the one called server", with(workspace, member("cli", ""), member("server", "")), "", "server", ""},
		{"asked", with(workspace, member("a", ""), member("b", "")), "b,a", "b a", ""},
		{"the root of a workspace before its members", with(member("tool", ""), map[string]string{"Cargo.toml": crate("shop", "[workspace]\nmembers = [\"tool\"]"), "src/main.rs": mainRS}), "", "shop", ""},
		{"ambiguous", with(workspace, member("a", ""), member("b", "")), "", "", "gitd cannot tell which one to start: a, b; name it in default-run"},
		{"none", map[string]string{"Cargo.toml": crate("shop", ""), "src/lib.rs": ""}, "", "", "no package of the app has a program, only libraries; add src/main.rs"},
		{"asked for a library", map[string]string{"Cargo.toml": crate("shop", ""), "src/lib.rs": ""}, "shop", "", "names shop, which has no program"},
		{"asked for nothing", map[string]string{"Cargo.toml": crate("shop", ""), "src/main.rs": mainRS}, "x", "", "names x, which is no package of the app"},
		{"cargo's own errors", map[string]string{"Cargo.toml": crate("shop", "[dependencies]\nx = 1"), "src/main.rs": mainRS}, "", "", "cargo cannot read the app: Cargo.toml:6:5: invalid type: integer `1`"},
	}
	b, _ := tools(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bptest.New(t, catalog.Rust)
			if _, err := r.Detect(b, tt.files); err != nil {
				t.Fatal(err)
			}
			env := kit.NewEnv(map[string]string{"BP_CARGO_WORKSPACE_MEMBERS": tt.asked})
			env.Prepend(filepath.Join(b.Root, "bin"))
			programs, _, err := b.programs(r.App, env)
			var got []string
			for _, p := range programs {
				got = append(got, p.name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(kit.Line(err), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

// TestWarm: a workspace that is pushed again is compiled only as far as it changed, and an unchanged program leaves its layer alone.
func TestWarm(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.Rust)
	files := map[string]string{
		"Cargo.toml":     "[workspace]\nresolver = \"2\"\nmembers = [\"lib\", \"web\"]\n",
		"lib/Cargo.toml": crate("lib", ""), "lib/src/lib.rs": "pub fn text() -> &'static str { \"v1\" }\n",
		"web/Cargo.toml": crate("web", "[dependencies]\nlib = { path = \"../lib\" }"),
		"web/build.rs":   "fn main() { println!(\"cargo:rustc-env=NOTE={}\", std::fs::read_to_string(\"note.txt\").unwrap().trim()); println!(\"cargo:rerun-if-changed=note.txt\") }",
		"web/note.txt":   "note\n", "web/src/main.rs": "fn main() { println!(\"{} {} {}\", lib::text(), env!(\"NOTE\"), include_str!(\"../page.html\")) }\n", "web/page.html": "page",
		"Procfile": "web: target/release/web\n",
	}
	build := func(want, said string) {
		t.Helper()
		out.Reset()
		built, err := r.Build(b, files)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if web := built.Processes["web"]; web.Command != "web" || !web.Default {
			t.Errorf("web is %+v", web)
		}
		if !strings.Contains(out.String(), said) {
			t.Errorf("the build says\n%swant %s", out, said)
		}
		if want == "" {
			return
		}
		got, err := exec.Command(filepath.Join(r.App, "target/release/web")).Output()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("prints %q %v, want %q", got, err, want)
		}
	}
	build("v1 note page", "Compiled 2 packages")
	build("", "Nothing to compile")
	if !r.Reused("bin") {
		t.Error("the layer of an unchanged program is made again")
	}
	files["web/src/main.rs"] = strings.Replace(files["web/src/main.rs"], "{} {} {}", "{}+{}+{}", 1)
	build("v1+note+page", "Compiled 1 package ")
	files["lib/src/lib.rs"] = strings.Replace(files["lib/src/lib.rs"], "v1", "v2", 1)
	build("v2+note+page", "Compiled 2 packages")
	files["web/note.txt"] = "other\n"
	files["web/page.html"] = "site"
	build("v2+other+site", "Compiled")
	for _, f := range []string{"Cargo.toml", "web/src", "lib"} {
		if kit.Exists(r.App, f) {
			t.Errorf("%s is in the image", f)
		}
	}
	if !kit.Exists(r.App, "web/page.html") || !kit.Exists(r.App, "Procfile") {
		t.Error("files that the program may read are gone")
	}
}

// TestKeepTimes: what has changed is newer than what it was compiled to, what has not is as old as before.
func TestKeepTimes(t *testing.T) {
	r := bptest.New(t, catalog.Rust)
	table := filepath.Join(t.TempDir(), "times")
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lay := func(now time.Time, files map[string]string) map[string]time.Time {
		t.Helper()
		if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, files); err != nil {
			t.Fatal(err)
		}
		if err := kit.KeepTimes(r.App, table, now, "target"); err != nil {
			t.Fatal(err)
		}
		times := map[string]time.Time{}
		for _, name := range []string{"a", "b", "d", "d/c"} {
			if info, err := exec.Command("stat", "-c", "%Y", filepath.Join(r.App, name)).Output(); err == nil {
				s, err := time.ParseDuration(strings.TrimSpace(string(info)) + "s")
				if err != nil {
					t.Fatal(err)
				}
				times[name] = time.Unix(0, 0).Add(s).UTC()
			}
		}
		return times
	}
	later := first.Add(time.Hour)
	for name, at := range lay(first, map[string]string{"a": "1", "b": "1", "d/c": "1"}) {
		if !at.Equal(first) {
			t.Errorf("%s is of %v, want %v", name, at, first)
		}
	}
	times := lay(later, map[string]string{"a": "1", "b": "2", "d/c": "1", "d/e": ""})
	for name, want := range map[string]time.Time{"a": first, "b": later, "d": later, "d/c": first} {
		if !times[name].Equal(want) {
			t.Errorf("%s is of %v, want %v", name, times[name], want)
		}
	}
	if times := lay(later.Add(time.Hour), map[string]string{"a": "1", "b": "1"}); !times["b"].Equal(later.Add(time.Hour)) {
		t.Errorf("a file that is as it was before the last build is of %v", times["b"])
	}
}

// TestBuildKinds: kinds of apps that people write, with the real cargo.
func TestBuildKinds(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		env   map[string]string
		start string // words of the process web
		want  string // what it prints
		said  string
	}{
		{"no lock file, edition 2024, a package of the registry", map[string]string{"Cargo.toml": "[package]\nname = \"a-b\"\nedition = \"2024\"\n[dependencies]\nitoa = \"1\"\n",
			"src/main.rs": "fn main() { println!(\"{}\", itoa::Buffer::new().format(7)) }"}, nil, "a-b", "7", "Warning: there is no Cargo.lock"},
		{"a feature that the program requires", map[string]string{"Cargo.toml": crate("a", "[features]\nssr = []\n[[bin]]\nname = \"srv\"\npath = \"srv.rs\"\nrequired-features = [\"ssr\"]"), "Cargo.lock": lockOf("a"),
			"srv.rs": "fn main() { println!(\"{}\", cfg!(feature = \"ssr\")) }"}, nil, "srv", "true", ""},
		{"flags and profile", map[string]string{"Cargo.toml": crate("a", "[features]\nx = []\n[profile.fast]\ninherits = \"dev\""), "Cargo.lock": lockOf("a"),
			"src/main.rs": "fn main() { println!(\"{} {}\", cfg!(feature = \"x\"), cfg!(debug_assertions)) }"},
			map[string]string{"BP_CARGO_INSTALL_ARGS": "--locked --path=. --features 'x'", "BP_RUST_PROFILE": "fast"}, "a", "true true", ""},
		{"a target folder by .cargo/config.toml", map[string]string{"Cargo.toml": crate("a", ""), "Cargo.lock": lockOf("a"), "src/main.rs": "fn main() { println!(\"{}\", env!(\"GREETING\")) }",
			".cargo/config.toml": "[build]\ntarget = \"" + host() + "\"\n[env]\nGREETING = \"hello\"\n"}, nil, "a", "hello", ""},
		{"a program of Loco", map[string]string{"Cargo.toml": crate("a", "[dependencies]\nloco-rs = { path = \"loco\" }"), "src/main.rs": "fn main() { println!(\"{:?}\", std::env::args().nth(1)) }",
			"loco/Cargo.toml": crate("loco-rs", ""), "loco/src/lib.rs": ""}, nil, "a start", `Some("start")`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, out := tools(t)
			r := bptest.New(t, catalog.Rust)
			for k, v := range tt.env {
				r.Env[k] = v
			}
			built, err := r.Build(b, tt.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			web := built.Processes["web"]
			words := append([]string{web.Command}, web.Arguments...)
			if got := strings.Join(words, " "); got != tt.start {
				t.Errorf("starts by %q, want %q", got, tt.start)
			}
			got, err := exec.Command(filepath.Join(r.Layers, "bin/bin", words[0]), words[1:]...).CombinedOutput()
			if err != nil || strings.TrimSpace(string(got)) != tt.want {
				t.Errorf("prints %q %v, want %q", got, err, tt.want)
			}
			if !strings.Contains(out.String(), tt.said) {
				t.Errorf("the build says\n%swant %s", out, tt.said)
			}
		})
	}
}

func lockOf(name string) string {
	return "version = 4\n\n[[package]]\nname = \"" + name + "\"\nversion = \"0.1.0\"\n"
}

// TestBuildErrors: the reason is the compiler's first error with its place, or what to do.
func TestBuildErrors(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"first error", map[string]string{"Cargo.toml": crate("a", ""), "Cargo.lock": lockOf("a"), "src/main.rs": "fn main() {\n    println!(\"{}\", x);\n    y();\n}\n"},
			"cargo build failed: src/main.rs:2:20: cannot find value `x` in this scope (E0425)"},
		{"stale lock", map[string]string{"Cargo.toml": crate("a", "[dependencies]\nb = { path = \"b\" }"), "b/Cargo.toml": crate("b", ""), "b/src/lib.rs": "", "Cargo.lock": lockOf("a"), "src/main.rs": mainRS},
			"Cargo.lock does not fit Cargo.toml; run cargo update --workspace, commit Cargo.lock and push again"},
		{"library", map[string]string{"Cargo.toml": crate("a", ""), "Cargo.lock": lockOf("a"), "src/main.rs": mainRS, "build.rs": "fn main() { println!(\"cargo:rustc-link-lib=pq-missing\") }"},
			`the library pq-missing, which the app is linked with, is not in the builder; find its package at packages.debian.org and add packages = ["NAME"] to [io.gitd.build] in project.toml`},
		{"newer Rust", map[string]string{"Cargo.toml": crate("a", "[dependencies]\nb = { path = \"b\" }"), "b/Cargo.toml": crate("b", `rust-version = "1.999"`), "b/src/lib.rs": "", "src/main.rs": mainRS},
			`the package b needs Rust 1.999 or newer; name a newer one in rust-toolchain.toml: channel = "1.999"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, out := tools(t)
			r := bptest.New(t, catalog.Rust)
			r.Env["RUSTUP_DIST_SERVER"] = "http://127.0.0.1:1"
			_, err := r.Build(b, tt.files)
			if err == nil || kit.Line(err) != tt.want {
				t.Errorf("error %v\nwant  %s\n%s", err, tt.want, out)
			}
		})
	}
}

// TestNewerRust: a package that the toolchain is too old for gets the newest one, where the app names none.
func TestNewerRust(t *testing.T) {
	server, _ := mirror(t, map[string]string{"stable": "1.999.1"}) // its cargo makes nothing
	b, out := tools(t)
	r := bptest.New(t, catalog.Rust)
	r.Env["RUSTUP_DIST_SERVER"] = server
	_, err := r.Build(b, map[string]string{"Cargo.toml": crate("a", "[dependencies]\nb = { path = \"b\" }"), "b/Cargo.toml": crate("b", `rust-version = "1.999"`), "b/src/lib.rs": "", "src/main.rs": mainRS})
	if err == nil || kit.Line(err) != "cargo build did not make the program a" || !strings.Contains(out.String(), "\nRust 1.999.1 of the Rust project, for the package b\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSameName: a package may depend on another one of its own name.
func TestSameName(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.Rust)
	dep := strings.Replace(crate("rocket", ""), "0.1.0", "0.5.1", 1)
	if _, err := r.Build(b, map[string]string{"Cargo.toml": crate("rocket", "[dependencies]\nrocket = { path = \"dep\" }"), "src/main.rs": mainRS, "dep/Cargo.toml": dep, "dep/src/lib.rs": ""}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestRocket: the launcher tells Rocket the port.
func TestRocket(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.Rust)
	if _, err := r.Build(b, map[string]string{"Cargo.toml": crate("a", "[dependencies]\nrocket = { path = \"rocket\" }"), "src/main.rs": mainRS, "rocket/Cargo.toml": crate("rocket", ""), "rocket/src/lib.rs": "", "Rocket.toml": ""}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range []struct{ env, want string }{{"PORT=99", "ROCKET_PORT = \"99\"\nROCKET_ADDRESS = \"0.0.0.0\"\n"}, {"ROCKET_PORT=7 ROCKET_ADDRESS=::", ""}} {
		c := exec.Command("/bin/sh", "-c", filepath.Join(r.Layers, "bin/exec.d/ports")+" 3>&1")
		c.Env = append(slices.Clone(strings.Fields(tt.env)), "PATH=/bin")
		if got, err := c.CombinedOutput(); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q %v, want %q", tt.env, got, err, tt.want)
		}
	}
	if !kit.Exists(r.App, "Rocket.toml") {
		t.Error("Rocket.toml is gone")
	}
}
