package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bareRunc runs the spec of an instance without gitd: its own mount of the same layers, and its own prepared network namespace
// or the host's.
type bareRunc struct {
	b       *bench
	bundle  string
	root    string // runc's state
	port    string
	network *namespace // nil: the host's
	count   int
}

// newBareRunc copies the bundle of an instance that runs.
func (b *bench) newBareRunc(i instance, hostNetwork bool) (*bareRunc, error) {
	pid, err := processIn(i.namespace)
	if err != nil {
		return nil, err
	}
	config, err := b.bundleOf(pid)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return nil, fmt.Errorf("%s: %w", config, err)
	}
	r := &bareRunc{b: b, port: i.port}
	if r.bundle, err = os.MkdirTemp(b.dir, "bare-"); err != nil {
		return nil, err
	}
	r.root = filepath.Join(r.bundle, "runc")
	rootfs := filepath.Join(r.bundle, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return nil, err
	}
	if hostNetwork {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		r.port = port(address)
	} else if r.network, err = newNamespace(filepath.Join(r.bundle, "net")); err != nil {
		return nil, err
	}
	if err := r.mountRoot(pid, filepath.Dir(config), rootfs); err != nil {
		r.close()
		return nil, err
	}
	if err := r.rewrite(&spec, rootfs); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// bundleOf finds the config.json of the container that a process is in, by its cgroup.
func (b *bench) bundleOf(pid int) (string, error) {
	groups := trimmed(fmt.Sprintf("/proc/%d/cgroup", pid))
	found := ""
	err := filepath.WalkDir(b.server.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // containers come and go under us
		}
		if d.IsDir() && strings.Count(strings.TrimPrefix(path, b.server.data), "/") > 6 {
			return fs.SkipDir
		}
		if d.Name() != "config.json" || found != "" {
			return nil
		}
		var spec specs.Spec
		text, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(text, &spec) != nil || spec.Linux == nil || spec.Linux.CgroupsPath == "" {
			return nil
		}
		if strings.Contains(groups+"\n", spec.Linux.CgroupsPath+"\n") {
			found = path
		}
		return nil
	})
	if err == nil && found == "" {
		err = fmt.Errorf("no config.json below %s is of the cgroups of process %d:\n%s", b.server.data, pid, groups)
	}
	return found, err
}

// layers are what gitd's shim was told to mount, bottom first. Where they are mapped to another user, what it mounts is seen by it alone.
func layers(bundle string) []string {
	var config struct{ Layers []string }
	text, err := os.ReadFile(filepath.Join(bundle, "shim.json"))
	if err != nil || json.Unmarshal(text, &config) != nil {
		return nil
	}
	return config.Layers
}

// overlayDirs reads the options of an overlay mount: its lower directories, and its upper one, which has the container's own /etc/hosts and the like.
func overlayDirs(options string, absolute func(string) string) (lower []string, upper string) {
	for _, o := range strings.Split(options, ",") {
		l, ok := strings.CutPrefix(o, "lowerdir=")
		if !ok {
			l, ok = strings.CutPrefix(o, "lowerdir+=")
		}
		if ok {
			for _, d := range strings.Split(l, ":") {
				lower = append(lower, absolute(d))
			}
		}
		if u, ok := strings.CutPrefix(o, "upperdir="); ok {
			upper = absolute(u)
		}
	}
	return lower, upper
}

// mountRoot mounts the layers that are the root of a process, once more. Their names may be relative to the bundle.
func (r *bareRunc) mountRoot(pid int, bundle, target string) error {
	told := layers(bundle)
	absolute := func(path string) string {
		if n, err := strconv.Atoi(path); err == nil && n < len(told) { // the shim's name for one
			return told[n]
		}
		for _, from := range []string{"", filepath.Join(bundle, "lower"), bundle} { // where gitd's shim stands when it mounts
			if real, err := filepath.EvalSymlinks(filepath.Join(from, path)); err == nil && filepath.IsAbs(real) {
				return real
			}
		}
		return path
	}
	for line := range strings.Lines(trimmed(fmt.Sprintf("/proc/%d/mountinfo", pid))) {
		f := strings.Fields(line)
		_, super, ok := strings.Cut(strings.TrimSpace(line), " - ")
		s := strings.Fields(super)
		if !ok || len(f) < 5 || f[4] != "/" || len(s) < 3 || s[0] != "overlay" {
			continue
		}
		lower, theirs := overlayDirs(s[2], absolute)
		if !filepath.IsAbs(theirs) { // it is out of sight: the container's own /etc/hosts is not needed to answer
			theirs = ""
		}
		options := "lowerdir=" + strings.Join(lower, ":")
		if len(lower) == 1 && theirs == "" { // overlay wants two; an empty one changes nothing
			empty := filepath.Join(r.bundle, "empty")
			if err := os.MkdirAll(empty, 0o755); err != nil {
				return err
			}
			options += ":" + empty
		}
		if theirs != "" {
			upper, work := filepath.Join(r.bundle, "upper"), filepath.Join(r.bundle, "work")
			if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
				return err
			}
			if err := os.CopyFS(upper, os.DirFS(theirs)); err != nil {
				return err
			}
			options += ",upperdir=" + upper + ",workdir=" + work + ",volatile"
		}
		if err := unix.Mount("overlay", target, "overlay", unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("mounting %s: %w", options, err)
		}
		return nil
	}
	return fmt.Errorf("process %d has no overlay as its root", pid)
}

// rewrite points the spec at what is ours, and writes it.
func (r *bareRunc) rewrite(spec *specs.Spec, rootfs string) error {
	spec.Root.Path = rootfs
	spec.Linux.CgroupsPath = "/gitd-" + filepath.Base(r.b.dir) + "-" + filepath.Base(r.bundle)
	spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	for i, n := range spec.Linux.Namespaces {
		if n.Type == specs.PIDNamespace { // that of gitd's shim is the instance's
			spec.Linux.Namespaces[i].Path = ""
		}
	}
	if r.network != nil {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: r.network.file})
	}
	for i, v := range spec.Process.Env {
		if strings.HasPrefix(v, "PORT=") {
			spec.Process.Env[i] = "PORT=" + r.port
		}
	}
	for i := range spec.Mounts { // files that gitd made for the container, such as resolv.conf
		m := &spec.Mounts[i]
		info, err := os.Stat(m.Source)
		if !filepath.IsAbs(m.Source) || err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(m.Source, r.b.server.data) {
			continue
		}
		text, err := os.ReadFile(m.Source)
		if err != nil {
			return err
		}
		m.Source = filepath.Join(r.bundle, "mount-"+strconv.Itoa(i))
		if err := os.WriteFile(m.Source, text, info.Mode().Perm()); err != nil {
			return err
		}
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.bundle, "config.json"), text, 0o600)
}

// run starts a container, and returns the time to its first good answer and what removes it.
func (r *bareRunc) run() (took time.Duration, remove func(), err error) {
	r.count++
	id := fmt.Sprintf("bench-%d-%d", os.Getpid(), r.count)
	began := time.Now()
	p, err := start("runc run", nil, nil, "runc", "--root", r.root, "run", "--bundle", r.bundle, id)
	if err != nil {
		return 0, nil, err
	}
	remove = func() {
		_ = runCommand(context.WithoutCancel(r.b.ctx), nil, mustLookPath("runc"), "--root", r.root, "delete", "--force", id)
		p.stop(10 * time.Second)
	}
	for {
		status, err := r.get()
		if err == nil && status == http.StatusOK {
			return time.Since(began), remove, nil
		}
		select {
		case <-p.ended:
			remove()
			return 0, nil, fmt.Errorf("runc run ended: %s", p.out.last(5))
		case <-r.b.ctx.Done():
			remove()
			return 0, nil, r.b.ctx.Err()
		case <-time.After(500 * time.Microsecond):
		}
		if time.Since(began) > 30*time.Second {
			remove()
			return 0, nil, fmt.Errorf("runc run: no answer after 30 s (%d, %v): %s", status, err, p.out.last(5))
		}
	}
}

// get asks the container for its front page.
func (r *bareRunc) get() (status int, err error) {
	if r.network != nil {
		return r.network.get(r.port)
	}
	return get("127.0.0.1:" + r.port)
}

func (r *bareRunc) close() {
	if r.network != nil {
		r.network.close()
	}
	_ = unix.Unmount(filepath.Join(r.bundle, "rootfs"), unix.MNT_DETACH)
}

func mustLookPath(name string) string {
	p, err := lookPath(name)
	if err != nil {
		return name
	}
	return p
}
