package maker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
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
//	run:    base, user
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
	if run, err = cache.Append(base, user); err != nil {
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
	goLayer, err := m.toolchain(ctx, t.Go, layers, addGo)
	if err != nil {
		return nil, nil, err
	}
	nodeLayer, err := m.toolchain(ctx, t.Node, layers, addNode(m.recipe.Arch))
	if err != nil {
		return nil, nil, err
	}
	cacheLayer, err := m.goCache(ctx, append(slices.Clone(layers), goLayer))
	if err != nil {
		return nil, nil, err
	}
	programs, err := m.buildpacks(ctx)
	if err != nil {
		return nil, nil, err
	}
	if build, err = cache.Append(base, append(layers, nodeLayer, goLayer, cacheLayer, programs)...); err != nil {
		return nil, nil, err
	}
	if run, err = configure(run, distro, nil); err != nil {
		return nil, nil, err
	}
	build, err = configure(build, distro, []string{"CNB_USER_ID=1000", "CNB_GROUP_ID=1000"})
	return run, build, err
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
	m.now.Finish("%s: %d MB", title, l.Info.Size>>20)
	return l, nil
}

// system makes the layer with the system that apps run on.
func (m *maker) system(ctx context.Context) (*cache.Layer, error) {
	return m.bootstrap(ctx, "system", "Bootstrapping "+recipe.DebianName, append([]string{"ca-certificates"}, catalog.RunPackages...))
}

// bootstrap makes a layer with Debian and these packages, by mmdebstrap.
func (m *maker) bootstrap(ctx context.Context, name, title string, packages []string) (*cache.Layer, error) {
	packages = slices.Compact(slices.Sorted(slices.Values(packages)))
	return m.stage(ctx, name, title, []any{recipe.DebianRelease, packages}, func(ctx context.Context, work string, w *layerWriter) error {
		if os.Geteuid() != 0 {
			return app.Errorf(app.CodeUnavailable, "run the command as root", "only root can bootstrap %s", recipe.DebianName)
		}
		program, err := findProgram("mmdebstrap")
		if err != nil {
			return app.Errorf(app.CodeUnavailable, "run apt-get install mmdebstrap, or name a base image with gitd builder create --base", "mmdebstrap, which bootstraps Debian, is not installed")
		}
		if err := m.NeedSpace(3 << 30); err != nil {
			return err
		}
		root := filepath.Join(work, "root")
		args := []string{program, "--mode=root", "--verbose", "--variant=minbase", "--format=directory", "--architectures=" + m.recipe.Arch,
			"--include=" + strings.Join(packages, ","), "--dpkgopt=force-unsafe-io",
			"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
			"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*", "--dpkgopt=path-exclude=/usr/share/locale/*"}
		for _, o := range aptProxies(ctx) {
			args = append(args, "--aptopt="+o)
		}
		args = append(args, recipe.DebianRelease, root)
		if sources := hostSources("/etc", recipe.DebianRelease); len(sources) > 0 {
			list := filepath.Join(work, "sources.list")
			if err := os.WriteFile(list, []byte(lines(sources)), 0o600); err != nil {
				return err
			}
			args = append(args, list)
		}
		j := job{Args: args, Output: m.watchPackages(), Dir: "/",
			Env: append(passed(phase.Proxies...), "PATH="+standardPath, "LC_ALL=C.UTF-8", "TMPDIR="+work)}
		if err := j.run(ctx); err != nil {
			return m.words(err, "bootstrapping "+recipe.DebianName)
		}
		m.note("packing")
		sources := aptSources(filepath.Join(root, "etc/apt"))
		return errors.Join(w.tree(root, "", m.now.Began, func(name string, d fs.DirEntry) bool {
			return hostOnly(name) || name == "etc/apt/sources.list" || path.Dir(name) == "etc/apt/sources.list.d"
		}), w.bytes("etc/apt/sources.list", 0o644, []byte(lines(withoutPasswords(sources)))), emptyFiles(w))
	})
}

// packages makes the layer with what builds need on top of the system and the user: installing changes the list of users as well.
func (m *maker) packages(ctx context.Context, user *cache.Layer) (*cache.Layer, error) {
	packages := slices.Compact(slices.Sorted(slices.Values(catalog.BuildPackages)))
	digest, err := m.recipe.Base.Digest()
	if err != nil {
		return nil, err
	}
	return m.stage(ctx, "packages", "Installing compilers and tools for builds", []any{packages, user.Info.DiffID, digest}, func(ctx context.Context, work string, w *layerWriter) error {
		layers, err := m.unpacked(ctx, []*cache.Layer{user})
		if err != nil {
			return err
		}
		files, env := hostNetwork()
		conf := aptProxies(ctx)
		conf = append(conf, `APT::Sandbox::User "root"`, `Acquire::https::CaInfo "/run/gitd/ca.crt"`, `Acquire::Languages "none"`)
		if sources := hostSources("/etc", recipe.DebianRelease); len(sources) > 0 {
			files["gitd/sources.list"] = lines(sources)
			conf = append(conf, `Dir::Etc::SourceList "/run/gitd/sources.list"`, `Dir::Etc::SourceParts "/dev/null"`)
		}
		files["gitd/apt.conf"] = strings.Join(conf, ";\n") + ";\n"
		files["gitd/install"] = installScript
		upper := filepath.Join(work, "upper")
		j := job{Layers: layers, Upper: upper, Binds: hostFiles(), Files: files, Output: m.watchPackages(),
			Args: append([]string{"/bin/sh", "-e", "/run/gitd/install"}, packages...),
			Env:  append(env, "PATH="+standardPath, "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "APT_CONFIG=/run/gitd/apt.conf")}
		if err := j.run(ctx); err != nil {
			return m.words(err, "installing compilers and tools")
		}
		m.note("packing")
		return w.tree(upper, "", m.now.Began, func(name string, d fs.DirEntry) bool { return hostOnly(name) })
	})
}

// installScript installs the packages that it is given; the services that come with them do not start.
const installScript = `printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -q -y --no-install-recommends install "$@"
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/nginx /usr/sbin/policy-rc.d
`

// hostOnly says whether a file of a system that was just installed stays out of the image: what was copied from this
// machine, what the sandbox brings, logs and backups.
func hostOnly(name string) bool {
	switch name {
	case "etc/resolv.conf", "etc/hostname", "etc/hosts", "etc/machine-id", "var/lib/dbus/machine-id", "etc/apt/apt.conf.d/99mmdebstrap",
		"var/cache/ldconfig/aux-cache", "var/lib/systemd", "dev", "run", "tmp", "proc", "sys":
		return true
	}
	dir, base := path.Dir(name), path.Base(name)
	switch {
	case dir == "var/log", dir == "var/cache/apt" && base != "archives", strings.HasPrefix(name, "var/cache/debconf/"), strings.HasPrefix(name, "var/lib/apt/lists/"):
		return true
	case dir == "var/lib/dpkg" && strings.HasSuffix(base, "-old"), dir == "etc" && strings.HasSuffix(base, "-") && len(base) > 1:
		return true
	}
	return false
}

// emptyFiles writes the folders and files that a container's runtime mounts on: it cannot make them on a read-only root.
func emptyFiles(w *layerWriter) error {
	var all []error
	for _, name := range []string{"etc/resolv.conf", "etc/hostname", "etc/hosts", "etc/machine-id"} {
		all = append(all, w.bytes(name, 0o644, nil))
	}
	for _, name := range []string{"dev", "proc", "run", "sys", "var/log"} {
		all = append(all, w.folder(name, 0o755, 0))
	}
	return errors.Join(append(all, w.folder("tmp", 0o1777, 0))...)
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
	return m.stage(ctx, "buildpacks", "Adding the buildpacks", []any{m.recipe.Buildpacks.Digest}, func(ctx context.Context, _ string, w *layerWriter) error {
		return errors.Join(w.program(buildpacksProgram[1:], m.recipe.Buildpacks.Path), w.folder("cache", 0o755, 1000))
	})
}

// buildpacksProgram is where the builder image has it.
const buildpacksProgram = "/opt/gitd/bin/buildpacks"

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

var packageLine = regexp.MustCompile(`^(?:(\d+) upgraded, (\d+) newly installed|(Unpacking|Setting up) )`)

// watchPackages tells, from the output of apt and dpkg, how far they are.
func (m *maker) watchPackages() *lineWriter {
	total, unpacked, set := 0, 0, 0
	return &lineWriter{each: func(line string) {
		f := packageLine.FindStringSubmatch(line)
		switch {
		case f == nil:
			return
		case f[2] != "":
			n, _ := strconv.Atoi(f[2])
			total += n
		case f[3] == "Unpacking":
			unpacked++
		default:
			set++
		}
		total = max(total, unpacked, set)
		m.note("%d packages, %d unpacked, %d set up", total, unpacked, set)
	}}
}

// lineWriter hands on whole lines.
type lineWriter struct {
	each    func(line string)
	partial []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.partial = append(l.partial, p...)
	for {
		n, line, err := bufio.ScanLines(l.partial, false)
		if err != nil || n == 0 {
			return len(p), nil
		}
		l.each(string(line))
		l.partial = l.partial[n:]
	}
}
