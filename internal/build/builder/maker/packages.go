package maker

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

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
	return m.stage(ctx, "packages", "Installing compilers and tools for builds", []any{packages, user.Info.DiffID, digest, installScript}, func(ctx context.Context, work string, w *layerWriter) error {
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
// What the system has before that is noted: package debs compares with it what an app's own packages need.
const installScript = `mkdir -p /opt/gitd
cp /var/lib/dpkg/status ` + catalog.RunStatus + `
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
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
