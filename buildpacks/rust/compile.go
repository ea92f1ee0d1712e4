package rust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// prepare sets the environment of cargo, and returns the folder that it builds in.
func (b Buildpack) prepare(app string, env kit.Env, cache *kit.Cache, t toolchain, f found) (target string, err error) {
	home, err := cache.Dir("rust-cargo")
	if err != nil {
		return "", err
	}
	if target, err = cache.Dir("rust-target"); err != nil {
		return "", err
	}
	t.env.AddTo(env)
	env.Prepend(t.bin)
	env.Default("HOME", os.TempDir())
	env["CARGO_HOME"], env["CARGO_TARGET_DIR"] = home, target
	env.Default("CARGO_TERM_PROGRESS_WHEN", "never")
	env.Default("CARGO_NET_GIT_FETCH_WITH_CLI", "true") // git finds the credentials and certificates that cargo does not
	if v, _ := parseVersion(t.version); v.less(version{1, 77}) && !f.profileHas("strip", "debug") {
		env.Default("CARGO_PROFILE_RELEASE_STRIP", "debuginfo") // as cargo does by itself since
	}
	if kit.Exists(app, ".sqlx") || kit.Exists(app, "sqlx-data.json") {
		env.Default("SQLX_OFFLINE", "true")
	}
	return target, freshTarget(target, t)
}

// maxTarget is how large the folder that cargo builds in may be at the start of a build: cargo removes nothing of what an app no longer needs.
const maxTarget = 1 << 30

// freshTarget empties what another toolchain compiled, and what has grown too large.
func freshTarget(target string, t toolchain) error {
	const stampFile = "gitd-toolchain"
	if kit.Text(target, stampFile) == t.version && sizeOf(target) <= maxTarget {
		return nil
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(target, stampFile), []byte(t.version+"\n"), 0o644)
}

func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil // what cannot be read is not counted
	})
	return size
}

// lock brings the lock file that the last build made to an app that has none, so that it gets the same packages again. It returns the flags of cargo.
func (b Buildpack) lock(app, target string) (flags []string, keep func() error, err error) {
	const name = "Cargo.lock"
	kept := filepath.Join(target, name)
	if kit.Exists(app, name) {
		return []string{"--locked"}, func() error { return nil }, nil
	}
	kit.Say(b.Out, "Warning: there is no Cargo.lock, so builds may take other versions; commit it")
	if kit.IsFile(kept) {
		if err := kit.CopyFile(kept, filepath.Join(app, name)); err != nil {
			return nil, nil, err
		}
	}
	return nil, func() error { return kit.CopyFile(filepath.Join(app, name), kept) }, nil
}

// compile runs one cargo build for all programs, and returns where they are.
func (b Buildpack) compile(app string, env kit.Env, programs []program, flags []string) (map[string]string, error) {
	args := []string{"cargo", "build", "--message-format", "json-render-diagnostics", "--profile", orElse(env["BP_RUST_PROFILE"], "release")}
	args = append(args, flags...)
	own, err := ownFlags(env)
	if err != nil {
		return nil, err
	}
	args = append(args, own...)
	var names, features []string
	for _, p := range programs {
		if spec := p.pkg.spec(); !slices.Contains(args, spec) {
			args = append(args, spec)
		}
		args = append(args, "--bin", p.name)
		names = append(names, p.name)
		for _, f := range p.features {
			features = append(features, p.pkg.Name+"/"+f)
		}
	}
	if len(features) > 0 {
		args = append(args, "--features", strings.Join(features, ","))
	}
	kit.Say(b.Out, "cargo build %s", strings.Join(names, " "))
	began := time.Now()
	r := &reader{}
	cmd := kit.Cmd{Args: args, Dir: app, Env: env, Out: io.MultiWriter(b.Out, &kit.Lines{Do: r.line}), Name: "cargo build"}
	out, err := cmd.Output()
	if err != nil {
		return nil, r.reason("cargo build", err)
	}
	built, compiled := executables(out)
	for _, n := range names {
		if built[n] == "" {
			return nil, kit.Errorf("", "cargo build did not make the program %s", n)
		}
	}
	if compiled == 0 {
		kit.Say(b.Out, "Nothing to compile")
	} else {
		kit.Say(b.Out, "Compiled %s in %s", kit.Pick(compiled == 1, "1 package", fmt.Sprintf("%d packages", compiled)), time.Since(began).Round(100*time.Millisecond))
	}
	return built, nil
}

// ownFlags are the words of BP_CARGO_INSTALL_ARGS that cargo build takes as well.
func ownFlags(env kit.Env) (flags []string, err error) {
	words, err := env.ShellWords("BP_CARGO_INSTALL_ARGS")
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "--locked", w == "--force", w == "-f", w == "--no-track", strings.HasPrefix(w, "--path="), strings.HasPrefix(w, "--root="):
		case w == "--path", w == "--root":
			i++
		default:
			flags = append(flags, w)
		}
	}
	return flags, nil
}

// executables reads cargo's messages: the programs, and how many packages were compiled.
func executables(out []byte) (built map[string]string, compiled int) {
	built = map[string]string{}
	packages := map[string]bool{}
	for line := range bytes.Lines(out) {
		var m struct {
			Reason     string
			Executable string
			Package    string `json:"package_id"`
			Fresh      bool
			Target     struct{ Name string }
		}
		if json.Unmarshal(line, &m) != nil || m.Reason != "compiler-artifact" {
			continue
		}
		if !m.Fresh {
			packages[m.Package] = true
		}
		if m.Executable != "" {
			built[m.Target.Name] = m.Executable
		}
	}
	return built, len(packages)
}
