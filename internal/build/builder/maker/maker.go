package maker

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/layer"
	"github.com/gitd-io/gitd/internal/sandbox"
)

const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maker makes our own builder. It runs under the cache's lock.
type maker struct {
	*cache.Cache
	recipe *recipe.Recipe
	force  bool
	now    *cache.Progress // of the stage that is being made
}

func (m *maker) note(format string, args ...any) {
	if m.now != nil {
		m.now.Note(format, args...)
	}
}

// makeBuilder makes our own builder image, unless the cache has it, and returns its link in the cache.
func makeBuilder(ctx context.Context, c *cache.Cache, base string, force bool) (link string, err error) {
	r, err := recipe.New(ctx, c, base, force)
	if err != nil {
		return "", err
	}
	link = r.Link()
	unlock, err := c.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if !force { // another process may have made it while we waited
		if _, _, err = c.Entry(link); err == nil {
			return link, nil
		}
	}
	m := &maker{Cache: c, recipe: r, force: force}
	if err := m.make(ctx, link); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", m.words(err, "making the builder image")
	}
	_, _, err = c.Entry(link)
	c.MakeRoom()
	return link, err
}

// makeBase makes a layer with Debian and these packages, unless the cache has it, and returns its folder in the cache.
func makeBase(ctx context.Context, c *cache.Cache, force bool, packages []string) (dir string, err error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	m := &maker{Cache: c, recipe: &recipe.Recipe{Arch: runtime.GOARCH}, force: force}
	system, err := m.bootstrap(ctx, "base", "Bootstrapping "+recipe.DebianName, packages)
	if err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", m.words(err, "bootstrapping "+recipe.DebianName)
	}
	return filepath.Rel(c.Dir, filepath.Dir(system.File))
}

// make makes the builder, stage by stage, and puts it into the cache.
func (m *maker) make(ctx context.Context, link string) error {
	began := time.Now()
	run, build, err := m.images(ctx)
	if err != nil {
		return err
	}
	m.now = cache.Start(m.Log, 0, "Putting the builder image together")
	defer m.now.Stop()
	dir, err := m.Temp("builder")
	if err != nil {
		return err
	}
	if err := m.createBuilder(ctx, dir, run, build); err != nil {
		return err
	}
	img, _, err := cache.ReadEntry(dir)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	if _, err := m.Put(dir, link, digest.String()); err != nil {
		return err
	}
	m.now.Stop()
	m.Log.Step("Builder image %s is ready (%.0f s)", digest.Hex[:12], time.Since(began).Seconds())
	return nil
}

// images makes the run image and the image that builds run in.
//
//	run:    base, user, /app
//	build:  base, user, build packages, Go, Node.js, Go's cache, buildpacks
func (m *maker) images(ctx context.Context) (run, build v1.Image, err error) {
	m.Log.Step("Making the builder image, once on this machine")
	t, ok := recipe.Toolchains[m.recipe.Arch]
	if !ok {
		return nil, nil, app.Errorf(app.CodeUnavailable, "name a builder image for this machine with --builder", "there is no builder of ours for the architecture %s", m.recipe.Arch)
	}
	base := m.recipe.Base
	distro := map[string]string{"ID": "debian", "VERSION_ID": recipe.DebianVersion}
	if base == nil {
		system, err := m.system(ctx)
		if err != nil {
			return nil, nil, err
		}
		if base, err = cache.Append(cache.EmptyImage(m.recipe.Arch), system); err != nil {
			return nil, nil, err
		}
	} else if distro, err = m.distribution(ctx, base); err != nil {
		return nil, nil, err
	}
	m.recipe.Base = base
	user, err := m.user(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	if run, err = m.runImage(ctx, user); err != nil {
		return nil, nil, err
	}
	layers := []*cache.Layer{user}
	if m.recipe.BaseDigest == "" {
		packages, err := m.packages(ctx, user)
		if err != nil {
			return nil, nil, err
		}
		layers = append(layers, packages)
	}
	tools, err := m.toolchains(ctx, t, layers)
	if err != nil {
		return nil, nil, err
	}
	programs, err := m.buildpacks(ctx)
	if err != nil {
		return nil, nil, err
	}
	if build, err = cache.Append(base, append(append(layers, tools...), programs)...); err != nil {
		return nil, nil, err
	}
	if run, err = configure(run, distro, nil); err != nil {
		return nil, nil, err
	}
	build, err = configure(build, distro, []string{"CNB_USER_ID=1000", "CNB_GROUP_ID=1000"})
	return run, build, err
}

// runImage is the base with the user and, where it has none of its own, a link /app to the folder of the app: commands and files of apps that come from Heroku name it.
func (m *maker) runImage(ctx context.Context, user *cache.Layer) (v1.Image, error) {
	layers, err := m.unpacked(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, dir := range layers {
		if _, err := os.Lstat(filepath.Join(dir, "app")); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, err
			}
			return cache.Append(m.recipe.Base, user)
		}
	}
	link, err := m.stage(ctx, "app", "Adding /app", nil, func(_ context.Context, _ string, w *layerWriter) error { return w.link("app", "workspace") })
	if err != nil {
		return nil, err
	}
	return cache.Append(m.recipe.Base, user, link)
}

// unpacked returns the directories of the base image's layers and of these on top.
func (m *maker) unpacked(ctx context.Context, layers []*cache.Layer) ([]string, error) {
	img, err := cache.Append(m.recipe.Base, layers...)
	if err != nil {
		return nil, err
	}
	return sandbox.OpenLayers(m.LayersDir()).Ensure(ctx, img)
}

// stage returns a layer of the cache, or makes it: do works in a folder of its own and writes the layer. inputs are all that
// decides the content.
func (m *maker) stage(ctx context.Context, name, title string, inputs []any, do func(ctx context.Context, work string, w *layerWriter) error) (*cache.Layer, error) {
	final := filepath.Join(m.Dir, "stage", name+"-"+cache.Key(recipe.LayersVersion, m.recipe.Arch, inputs))
	if !m.force {
		l, err := cache.ReadLayer(final)
		if err != nil || l != nil {
			cache.Touch(final)
			return l, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	m.now = cache.Start(m.Log, 0, "%s", title)
	defer m.now.Stop()
	dir, err := m.Temp(name)
	if err != nil {
		return nil, err
	}
	work, err := m.Temp(name)
	if err != nil {
		return nil, err
	}
	defer disk.RemoveAll(work)
	during, cancel := context.WithCancel(ctx)
	l, err := writeLayer(dir, func(w *layerWriter) error { return do(during, work, w) })
	cancel()
	if err != nil {
		return nil, err
	}
	if err := cache.SyncFileSystem(dir); err != nil {
		return nil, err
	}
	if err := disk.RemoveAll(final); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, final); err != nil {
		return nil, err
	}
	l.File = filepath.Join(final, filepath.Base(l.File))
	m.now.Finish("%s: %s", title, app.Size(l.Info.Size))
	return l, nil
}

// user makes the layer with the user that builds and apps run as, and its folders.
func (m *maker) user(ctx context.Context, base v1.Image) (*cache.Layer, error) {
	digest, err := base.Digest()
	if err != nil {
		return nil, err
	}
	return m.stage(ctx, "user", "Adding the user", []any{digest}, func(ctx context.Context, _ string, w *layerWriter) error {
		layers, err := m.unpacked(ctx, nil)
		if err != nil {
			return err
		}
		add := func(name, entry string) error {
			old, err := readTop(layers, name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if bytes.HasPrefix(old, []byte("cnb:")) || bytes.Contains(old, []byte("\ncnb:")) {
				return nil
			}
			if len(old) > 0 && old[len(old)-1] != '\n' {
				old = append(old, '\n')
			}
			return w.bytes(name, 0o644, append(old, entry...))
		}
		return errors.Join(add("etc/passwd", "cnb:x:1000:1000:cnb:/home/cnb:/bin/bash\n"), add("etc/group", "cnb:x:1000:\n"),
			w.folder("home/cnb", 0o755, 1000), w.folder("workspace", 0o755, 1000))
	})
}

// buildpacks makes the layer with the program that all our buildpacks are. They refer to it by links, so that it is in the image once.
func (m *maker) buildpacks(ctx context.Context) (*cache.Layer, error) {
	return m.stage(ctx, "buildpacks", "Adding the buildpacks", []any{m.recipe.Buildpacks.Digest, m.recipe.Lambda.Digest}, func(ctx context.Context, _ string, w *layerWriter) error {
		return errors.Join(w.program(catalog.Program[1:], m.recipe.Buildpacks.Path), w.program(catalog.LambdaProgram[1:], m.recipe.Lambda.Path), w.folder("cache", 0o755, 1000))
	})
}

// readTop reads a file as it is seen with the layers on top of one another.
func readTop(layers []string, name string) ([]byte, error) {
	for _, dir := range slices.Backward(layers) {
		r, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		b, err := r.ReadFile(name)
		r.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, fs.ErrNotExist
}

// distribution reads what a base image says of itself.
func (m *maker) distribution(ctx context.Context, base v1.Image) (map[string]string, error) {
	layers, err := sandbox.OpenLayers(m.LayersDir()).Ensure(ctx, base)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"usr/lib/os-release", "etc/os-release"} {
		if b, err := readTop(layers, name); err == nil {
			return parseOSRelease(bytes.NewReader(b)), nil
		}
	}
	return nil, app.Errorf(app.CodeInvalidInput, "name an image of a Debian-like system with python3-pip", "the base image has no /etc/os-release")
}

// configure sets what the Buildpacks platform specification wants of build and run images.
func configure(img v1.Image, distro map[string]string, env []string) (v1.Image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: layer.Made}
	config.Config.User = "1000:1000"
	config.Config.WorkingDir = "/workspace"
	config.Config.Entrypoint, config.Config.Cmd = nil, nil
	if !slices.ContainsFunc(config.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		config.Config.Env = append(config.Config.Env, "PATH="+standardPath)
	}
	config.Config.Env = append(config.Config.Env, env...)
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	config.Config.Labels["io.buildpacks.base.distro.name"] = distro["ID"]
	config.Config.Labels["io.buildpacks.base.distro.version"] = distro["VERSION_ID"]
	config.Config.Labels["io.buildpacks.base.maintainer"] = "gitd"
	return mutate.ConfigFile(img, config)
}
