package python

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// fromPip are the settings of pip that have one of uv's: people, and the hosts of builds, set those of pip.
var fromPip = []struct{ pip, uv string }{
	{"PIP_INDEX_URL", "UV_DEFAULT_INDEX"}, {"PIP_EXTRA_INDEX_URL", "UV_INDEX"}, {"PIP_TRUSTED_HOST", "UV_INSECURE_HOST"},
	{"PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"}, {"PIP_RETRIES", "UV_HTTP_RETRIES"}, {"PIP_CONSTRAINT", "UV_CONSTRAINT"},
	{"PIP_NO_INDEX", "UV_NO_INDEX"}, {"PIP_NO_BUILD_ISOLATION", "UV_NO_BUILD_ISOLATION"}, {"PIP_REQUIRE_HASHES", "UV_REQUIRE_HASHES"},
	{"PIP_CERT", "SSL_CERT_FILE"}, {"PIP_PROXY", "ALL_PROXY"},
}

// setUV sets the environment of uv, which installs into the app's virtual environment and nowhere else.
func (b *build) setUV() error {
	for _, s := range fromPip {
		if v := b.env[s.pip]; v != "" {
			b.env.Default(s.uv, v)
		}
	}
	// The old names, which other tools read as well, count less.
	for _, s := range [][2]string{{"UV_INDEX_URL", "UV_DEFAULT_INDEX"}, {"UV_EXTRA_INDEX_URL", "UV_INDEX"}} {
		if v := b.env[s[0]]; v != "" {
			b.env.Default(s[1], v)
			delete(b.env, s[0])
		}
	}
	if v := b.env["UV_NATIVE_TLS"]; v != "" {
		b.env.Default("UV_SYSTEM_CERTS", v) // the name of today
		delete(b.env, "UV_NATIVE_TLS")
	}
	b.packagesOf("PIP_NO_BINARY", "UV_NO_BINARY")
	b.packagesOf("PIP_ONLY_BINARY", "UV_NO_BUILD")
	if b.env.Bool("PIP_PRE") {
		b.env.Default("UV_PRERELEASE", "allow")
	}
	var links []string
	for _, l := range strings.Fields(b.env["PIP_FIND_LINKS"]) {
		if strings.Contains(l, "://") || kit.IsDir(l) {
			links = append(links, l)
		}
	}
	b.env.Default("UV_FIND_LINKS", strings.Join(links, ","))
	var err error
	if b.env["UV_CACHE_DIR"], err = b.cache.Downloads("python-uv"); err != nil {
		return err
	}
	for name, value := range map[string]string{"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1", "UV_NO_INSTALLER_METADATA": "1",
		"UV_COMPILE_BYTECODE": "0", "UV_NO_ENV_FILE": "1"} {
		b.env[name] = value
	}
	b.env.Default("UV_HTTP_TIMEOUT", "120")
	b.env.Default("UV_HTTP_RETRIES", "5")
	b.env.Default("UV_INDEX_STRATEGY", "unsafe-best-match") // as pip looks at indexes: files of requirements are written for it
	// There is no repository in a build for a version to be found in.
	b.env.Default("SETUPTOOLS_SCM_PRETEND_VERSION", "0.0.0")
	b.env.Default("PDM_BUILD_SCM_VERSION", "0.0.0")
	return nil
}

// packagesOf translates pip's lists of packages, which :all: may stand for.
func (b *build) packagesOf(pip, uv string) {
	switch v := b.env[pip]; v {
	case "", ":none:":
	case ":all:":
		b.env.Default(uv, "1")
	default:
		b.env.Default(uv+"_PACKAGE", strings.ReplaceAll(v, ",", " "))
	}
}

// uv runs uv in the app's folder. title is what it does, in words that a person could type.
func (b *build) uv(title string, env kit.Env, args ...string) (string, error) {
	kit.Say(b.Out, "%s", title)
	env = env.Clone()
	env["VIRTUAL_ENV"] = b.venv.Path
	env["UV_PYTHON"] = filepath.Join(b.venv.Path, "bin", "python")
	env["UV_PROJECT_ENVIRONMENT"] = b.venv.Path
	name := "uv " + args[0]
	if args[0] == "pip" {
		name = "uv pip install"
	}
	causes := &causes{}
	said, err := kit.Cmd{Args: append([]string{b.UV}, args...), Dir: b.app, Env: env, Out: io.MultiWriter(b.Out, causes), Name: name}.Run()
	b.said = said + "\n" + causes.String()
	return b.said, err
}

// pip installs by "uv pip install". Old packages whose setup.py reads setuptools' pkg_resources are built once more with a setuptools that has it.
func (b *build) pip(title string, args ...string) error {
	argv := append([]string{"pip", "install"}, args...)
	said, err := b.uv(title, b.env, argv...)
	if err != nil && noPkgResources.MatchString(said) && b.env["UV_BUILD_CONSTRAINT"] == "" {
		file, ferr := temporary("build-constraints-*.txt", "setuptools<81\n")
		if ferr != nil {
			return ferr
		}
		defer os.Remove(file)
		env := b.env.Clone()
		env["UV_BUILD_CONSTRAINT"] = file
		said, err = b.uv("A package is built with pkg_resources, which new versions of setuptools have not: again with setuptools<81", env, argv...)
	}
	return b.reason(said, err)
}

// requirements installs a list.
func (b *build) requirements(title string, list []string, args ...string) error {
	file, err := temporary("requirements-*.txt", strings.Join(list, "\n")+"\n")
	if err != nil {
		return err
	}
	defer os.Remove(file)
	return b.pip(title, append(args, "-r", file)...)
}

func temporary(pattern, content string) (string, error) {
	f, err := os.CreateTemp("", pattern)
	if err != nil {
		return "", err
	}
	if _, err := f.WriteString(content); err != nil {
		f.Close()
		return "", err
	}
	return f.Name(), f.Close()
}

// uvSync installs exactly what uv.lock says, which must be what pyproject.toml asks for. With another index than the one that it was written
// with, uv cannot tell.
func (b *build) uvSync() error {
	if err := b.checkLock(locked{names: uvLocked(kit.Text(b.app, "uv.lock"))}, "pyproject.toml", "uv lock"); err != nil {
		return err
	}
	how := "--locked"
	if slices.ContainsFunc([]string{"UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_NO_INDEX"}, func(v string) bool { return b.env[v] != "" }) || !kit.IsFile(b.app, "pyproject.toml") {
		how = "--frozen"
	}
	env := b.env.Clone()
	if env["UV_INDEX_STRATEGY"] == "unsafe-best-match" {
		delete(env, "UV_INDEX_STRATEGY") // uv's own projects know their indexes by name
	}
	said, err := b.uv("uv sync "+how+" --no-dev", env, "sync", how, "--no-dev")
	if err != nil && staleLock.MatchString(said) {
		return kit.Errorf("run uv lock, commit uv.lock and push again", "uv.lock is not up to date with pyproject.toml")
	}
	return b.reason(said, err)
}

// makeVenv makes the virtual environment, as python -m venv does without pip: a few links and a file.
func (b *build) makeVenv() error {
	v := minor(b.version)
	for _, dir := range []string{"bin", "include", "lib/python" + v + "/site-packages"} {
		if err := os.MkdirAll(filepath.Join(b.venv.Path, dir), 0o755); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{"bin/python", b.exe}, {"bin/python3", "python"}, {"bin/python" + v, "python"}, {"lib64", "lib"}} {
		if err := os.Symlink(l[1], filepath.Join(b.venv.Path, l[0])); err != nil {
			return err
		}
	}
	cfg := fmt.Sprintf("home = %s\nimplementation = CPython\nversion_info = %s\ninclude-system-site-packages = false\n", filepath.Dir(b.exe), b.version)
	return os.WriteFile(filepath.Join(b.venv.Path, "pyvenv.cfg"), []byte(cfg), 0o644)
}

// causes keeps the lines that name an error and its causes: what a compiler says between them may be long.
type causes struct {
	kept strings.Builder
	line []byte
}

// mostOfCauses bounds what is kept.
const mostOfCauses = 16 << 10

// Write implements io.Writer.
func (c *causes) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' {
			if len(c.line) < 1000 {
				c.line = append(c.line, b)
			}
			continue
		}
		line := strings.TrimSpace(string(c.line))
		for _, prefix := range []string{"error: ", "cause: ", "fatal error: ", "ModuleNotFoundError: "} {
			if (strings.HasPrefix(line, prefix) || strings.Contains(line, " "+prefix)) && c.kept.Len() < mostOfCauses {
				c.kept.WriteString(line + "\n")
				break
			}
		}
		c.line = c.line[:0]
	}
	return len(p), nil
}

// String returns what is kept.
func (c *causes) String() string { return c.kept.String() }
