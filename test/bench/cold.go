package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

// coldWindow is the shortest window that Knative's autoscaler takes: an app without requests is at zero soon after it.
const coldWindow = "6s"

// cold measures the first request to an app at zero against runc alone with the same OCI spec. Several apps wait for their
// zero at the same time: the autoscaler's grace period makes that slow.
func (b *bench) cold() error {
	apps, rounds := b.rounds(4, 4), b.rounds(2, 1)
	last := map[string]instance{}
	var bare *bareRunc
	for n := range apps {
		app := fmt.Sprintf("cold-%d", n)
		s, _, err := b.useApp(app, "[io.gitd.web]\nwindow = \""+coldWindow+"\"\nmax-scale = 1\n")
		if err != nil {
			return err
		}
		i, err := s.who(app)
		if err != nil {
			return err
		}
		last[app] = i
		if bare == nil {
			if bare, err = b.newBareRunc(i); err != nil {
				return err
			}
			defer bare.close()
		}
	}
	var gitd, peer samples
	for range rounds {
		b.say("  waiting for %d apps to be at zero", apps)
		for _, app := range slices.Sorted(maps.Keys(last)) {
			if err := b.waitForZero(last[app]); err != nil {
				return err
			}
		}
		for _, app := range slices.Sorted(maps.Keys(last)) {
			i, took, err := b.firstRequest(app)
			if err != nil {
				return err
			}
			if i.started == last[app].started {
				return errors.New("the instance was not at zero")
			}
			last[app] = i
			alone, err := bare.run()
			if err != nil {
				return fmt.Errorf("bare runc run: %w", err)
			}
			gitd.add(took)
			peer.add(alone)
			b.say("  gitd %s, runc run %s", seconds(took.Seconds()), seconds(alone.Seconds()))
		}
	}
	b.report.title("Cold start from zero")
	b.report.ratio("first answer against bare runc run of the same spec", gitd, peer, 1.5)
	return nil
}

// firstRequest asks once, with a client of its own: the connection is part of a first request.
func (b *bench) firstRequest(app string) (instance, time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	asked := time.Now()
	status, body, err := b.server.get(client, app, "/who")
	took := time.Since(asked)
	if err != nil {
		return instance{}, 0, err
	}
	i, err := parseInstance(status, body)
	return i, took, err
}

// waitForZero blocks until no process lives in the instance's network namespace, and the machine had a moment to clean up.
func (b *bench) waitForZero(i instance) error {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if _, err := processIn(i.namespace); err != nil {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("the app is not at zero two minutes after its last request")
		}
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}

// bareRunc runs the spec of an instance without gitd: its own mount of the same layers, its own prepared network namespace.
type bareRunc struct {
	b       *bench
	bundle  string
	root    string // runc's state
	port    string
	network *namespace
	count   int
}

// newBareRunc copies the bundle of an instance that runs.
func (b *bench) newBareRunc(i instance) (*bareRunc, error) {
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
	r := &bareRunc{b: b, bundle: filepath.Join(b.dir, "bare"), port: i.port}
	r.root = filepath.Join(r.bundle, "runc")
	rootfs := filepath.Join(r.bundle, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return nil, err
	}
	if r.network, err = newNamespace(filepath.Join(r.bundle, "net")); err != nil {
		return nil, err
	}
	if err := r.mountRoot(pid, filepath.Dir(config), rootfs); err != nil {
		r.network.close()
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

// mountRoot mounts the layers that are the root of a process, once more. Their names may be relative to the bundle.
func (r *bareRunc) mountRoot(pid int, bundle, target string) error {
	absolute := func(path string) string {
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
		var lower []string
		theirs := "" // the upper directory has the container's own /etc/hosts and the like
		for _, o := range strings.Split(s[2], ",") {
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
				theirs = absolute(u)
			}
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
	spec.Linux.CgroupsPath = "/gitd-bench-" + strconv.Itoa(os.Getpid())
	for i := range spec.Linux.Namespaces {
		if spec.Linux.Namespaces[i].Type == specs.NetworkNamespace {
			spec.Linux.Namespaces[i].Path = r.network.file
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

// run starts a container and returns the time to its first good answer.
func (r *bareRunc) run() (time.Duration, error) {
	r.count++
	id := fmt.Sprintf("bench-%d-%d", os.Getpid(), r.count)
	began := time.Now()
	p, err := start("runc run", nil, nil, "runc", "--root", r.root, "run", "--bundle", r.bundle, id)
	if err != nil {
		return 0, err
	}
	var took time.Duration
	deadline := began.Add(30 * time.Second)
	for {
		status, err := r.network.get(r.port)
		if err == nil && status == http.StatusOK {
			took = time.Since(began)
			break
		}
		select {
		case <-p.ended:
			return 0, fmt.Errorf("it ended: %s", p.out.last(5))
		case <-r.b.ctx.Done():
			err = r.b.ctx.Err()
		default:
		}
		if r.b.ctx.Err() != nil || time.Now().After(deadline) {
			r.remove(id)
			p.kill()
			return 0, fmt.Errorf("no answer after %s: %w: %s", time.Since(began).Round(time.Millisecond), err, p.out.last(5))
		}
		time.Sleep(500 * time.Microsecond)
	}
	r.remove(id)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.kill()
	}
	r.remove(id)
	return took, nil
}

// remove kills a container and removes it; one that is gone is as good.
func (r *bareRunc) remove(id string) {
	_ = runCommand(r.b.ctx, nil, mustLookPath("runc"), "--root", r.root, "delete", "--force", id)
}

func (r *bareRunc) close() {
	r.network.close()
	_ = unix.Unmount(filepath.Join(r.bundle, "rootfs"), unix.MNT_DETACH)
}

func mustLookPath(name string) string {
	p, err := lookPath(name)
	if err != nil {
		return name
	}
	return p
}
