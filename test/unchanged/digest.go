package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// source is a package as go list tells of it.
type source struct {
	ImportPath, Dir string
	Module          *struct {
		Main bool
		Dir  string
	}
	Deps []string
}

// module is this one.
const module = "github.com/gitd-io/gitd/"

// lambda is compiled by tests of several languages.
const lambda = module + "cmd/gitd-lambda"

// scriptTest is before a script's name.
const scriptTest = "TestScripts/"

// scripts are those that may be left out: they push an app in a language, and again with a line changed, as do those for Go, Node.js, Python and files, which always run.
var scripts = []string{scriptTest + "example_bun", scriptTest + "example_deno", scriptTest + "example_elixir", scriptTest + "example_java", scriptTest + "example_php", scriptTest + "example_ruby",
	scriptTest + "example_rust", scriptTest + "packages"}

// builds are what a push's build is made of on this machine: what makes the builder, its sandbox, and what runs in it.
var builds = []string{module + "cmd/gitd-builder", module + "cmd/gitd-helper", module + "cmd/gitd-phases", module + "cmd/gitd-shim", module + "buildpacks", module + "internal/build/sandbox"}

// digestAll returns the digests of those of the packages and scripts that can have one.
func digestAll(names []string, settings string) (map[string]string, error) {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.Contains(n, "/buildpacks/") && !slices.Contains(scripts, n) })
	if len(names) == 0 {
		return nil, nil
	}
	packages := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasPrefix(n, scriptTest) })
	all, err := goList(slices.Concat([]string{lambda}, builds, packages))
	if err != nil {
		return nil, err
	}
	if all[lambda].Module == nil {
		return nil, errors.New("go list does not tell of this module")
	}
	return digestsOf(all, names, settings)
}

func digestsOf(all map[string]source, names []string, settings string) (map[string]string, error) {
	digests := map[string]string{}
	root := all[lambda].Module.Dir
	common, err := everyones(settings, root)
	if err != nil {
		return nil, err
	}
	trees := map[string]string{}
	for _, n := range names {
		var parts []string
		if script, ok := strings.CutPrefix(n, scriptTest); ok {
			harness, err := filepath.Glob(filepath.Join(root, "test/e2e/*.go"))
			if err != nil {
				return nil, err
			}
			parts = slices.Concat(dirsOf(all, builds...), harness, []string{filepath.Join(root, "test/e2e/testdata", script+".txtar"), filepath.Join(root, "make/parts.mk")})
		} else if parts = dirsOf(all, n, n+".test", lambda); !remembers(all[n].Dir, parts) {
			continue
		}
		h := sha256.New()
		fmt.Fprintln(h, n, common)
		for _, part := range parts {
			if trees[part] == "" {
				if trees[part], err = tree(part); err != nil {
					return nil, err
				}
			}
			fmt.Fprintln(h, part[len(root):], trees[part])
		}
		digests[n] = fmt.Sprintf("%x", h.Sum(nil))
	}
	return digests, nil
}

// goList returns the packages, all that they and their tests are made of, and the variants of them that their tests are compiled with.
func goList(packages []string) (map[string]source, error) {
	c := exec.Command("go", append([]string{"list", "-deps", "-test", "-json=ImportPath,Dir,Module,Deps"}, packages...)...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	all := map[string]source{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var s source
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		all[s.ImportPath] = s
	}
}

// dirsOf are the folders of this module whose packages these are made of.
func dirsOf(all map[string]source, packages ...string) []string {
	var dirs []string
	add := func(name string) {
		if s, ok := all[name]; ok && s.Module != nil && s.Module.Main && s.Dir != "" {
			dirs = append(dirs, s.Dir)
		}
	}
	for _, name := range packages {
		add(name)
		for _, d := range all[name].Deps {
			add(d)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// remembers tells whether a result may be kept: not of attacks, and not of what takes the programs beside gitd, which are not in the digest. dirs are those of the package
// and of all that it is made of.
func remembers(dir string, dirs []string) bool {
	for _, d := range dirs {
		if !strings.Contains(d+"/", "/buildpacks/") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(d, "*.go"))
		if err != nil {
			return false
		}
		for _, f := range files {
			if d != dir && strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil || bytes.Contains(b, []byte("GITD_PARTS")) || bytes.Contains(b, []byte("internal/parts")) || bytes.Contains(b, []byte("func TestAttack_")) {
				return false
			}
		}
	}
	return true
}

// everyones is what all results depend on: other modules, examples that tests read, the environment, and the programs of this machine.
func everyones(settings, root string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, settings, runtime.Version(), runtime.GOARCH)
	if err := environment(h, root); err != nil {
		return "", err
	}
	for _, dir := range []string{"go.mod", "go.sum", "examples"} {
		d, err := tree(filepath.Join(root, dir))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, dir, d)
	}
	if err := machine(h); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// volatile are variables that say from where make was called, and of which nothing depends.
var volatile = []string{"_", "PWD", "OLDPWD", "SHLVL", "TERM", "COLUMNS", "LINES", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MAKE_TERMOUT", "MAKE_TERMERR", "BESIDE", "BESIDES", "ALL", "SSH_AUTH_SOCK", "SSH_CLIENT",
	"SSH_CONNECTION", "SSH_TTY", "XDG_SESSION_ID", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GITD_PARTS"}

// folders are variables that name one from which tools take more than programs. Of others, such as HOME, the content does not count; that of a file does: certificates, for instance.
var folders = []string{"PIP_FIND_LINKS", "SSL_CERT_DIR"}

func environment(w io.Writer, root string) error {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(volatile, name)
	})
	slices.Sort(env)
	fmt.Fprintln(w, strings.ReplaceAll(strings.Join(env, "\n"), root, "ROOT"))
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		fi, err := os.Stat(value)
		if err != nil || !filepath.IsAbs(value) || fi.IsDir() && !slices.Contains(folders, name) {
			continue
		}
		d, err := tree(value)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, name, d)
	}
	return nil
}

// machine writes the versions of Debian's packages and where they come from, the settings of language tools, the kernel, Go's own settings, and the programs of PATH,
// which may be none of Debian's.
func machine(w io.Writer) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	files := []string{"/var/lib/dpkg/status", "/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/apt.conf.d", "/etc/os-release", "/proc/sys/kernel/osrelease", "/etc/hosts", "/etc/resolv.conf",
		"/etc/npmrc", "/etc/pip.conf", "/etc/gitconfig", "/usr/local/etc/npmrc"}
	for _, f := range []string{".npmrc", ".yarnrc", ".yarnrc.yml", ".bunfig.toml", ".config/pip", ".pip", ".config/uv", ".config/go/env", ".config/composer", ".cargo/config.toml", ".rustup/settings.toml", ".m2/settings.xml",
		".gradle/gradle.properties", ".gemrc", ".bundle/config", ".mix", ".hex/hex.config", ".nuget/NuGet", ".gitconfig", ".netrc", ".pyenv/version"} {
		files = append(files, filepath.Join(home, f))
	}
	for _, f := range files {
		d, err := tree(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		fmt.Fprintln(w, f, d)
	}
	out, err := exec.Command("go", "version").Output()
	if err != nil {
		return fmt.Errorf("go version: %w", err)
	}
	fmt.Fprintf(w, "%s", out)
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			fmt.Fprintln(w, dir, "is not there")
			continue
		}
		for _, e := range entries {
			if fi, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
				fmt.Fprintln(w, dir, e.Name(), fi.Size(), fi.ModTime().UnixNano())
			}
		}
	}
	return nil
}

// tree is the digest of a file, or of a folder with all that is in it: names, modes, content.
func tree(root string) (string, error) {
	h := sha256.New()
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path[len(root):], fi.Mode())
		switch {
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			fmt.Fprintln(h, to)
			return err
		case fi.Mode().IsRegular():
			return content(h, path)
		}
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func content(h hash.Hash, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(h, f)
	fmt.Fprintln(h, n)
	return err
}
