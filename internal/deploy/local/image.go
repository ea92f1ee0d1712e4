package local

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// image is an unpacked image: the directories of its layers, and its configuration.
type image struct {
	layers     []string // bottom first
	entrypoint []string
	command    []string
	env        []string
	dir        string
	uid, gid   uint32
	home       string
}

// unpack unpacks the revision's image. It keeps the result: the layers stay as long as the revision does.
func (r *revision) unpack(ctx context.Context) (*image, error) {
	r.mu.Lock()
	known := r.image
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	fail := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &deploy.StartError{Reason: deploy.ImageError, Detail: err.Error(), Missing: errors.Is(err, registry.ErrNotFound), Err: err}
	}
	repository, digest, err := deploy.ImageReference(r.template.Template.Spec.Containers[0].Image)
	if err != nil {
		return nil, fail(err)
	}
	img, err := r.p.opts.Registry.Image(repository, digest)
	if err != nil {
		return nil, fail(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fail(err)
	}
	layers, err := r.p.opts.Layers.Ensure(ctx, img)
	if err != nil {
		return nil, fail(err)
	}
	c := file.Config
	found := &image{layers: layers, entrypoint: c.Entrypoint, command: c.Cmd, env: c.Env, dir: c.WorkingDir}
	user := c.User
	if s := r.template.Template.Spec.Containers[0].SecurityContext; s != nil && s.RunAsUser != nil {
		user = strconv.FormatInt(*s.RunAsUser, 10)
		if s.RunAsGroup != nil {
			user += ":" + strconv.FormatInt(*s.RunAsGroup, 10)
		}
	}
	if err := found.user(user); err != nil {
		return nil, fail(err)
	}
	r.mu.Lock()
	r.image = found
	r.mu.Unlock()
	return found, nil
}

// user resolves USER, USER:GROUP, UID or UID:GID by the image's own /etc/passwd and /etc/group.
func (i *image) user(user string) error {
	name, group, hasGroup := strings.Cut(user, ":")
	uid, err := strconv.ParseUint(name, 10, 31)
	i.home = "/"
	found := false
	for fields := range i.table("etc/passwd") {
		if len(fields) < 6 || fields[0] != name && (err != nil || fields[2] != name) {
			continue
		}
		u, uerr := strconv.ParseUint(fields[2], 10, 31)
		g, gerr := strconv.ParseUint(fields[3], 10, 31)
		if uerr != nil || gerr != nil {
			continue
		}
		i.uid, i.gid, i.home, found = uint32(u), uint32(g), fields[5], true
		break
	}
	switch {
	case name == "" || err == nil && uid == 0 || found && i.uid == 0:
		return errors.New("it runs as root; set a user in the image")
	case !found && err == nil:
		i.uid, i.gid = uint32(uid), 0
	case !found:
		return errors.New("it has no user " + strconv.Quote(name))
	}
	if !hasGroup {
		return nil
	}
	if g, err := strconv.ParseUint(group, 10, 31); err == nil {
		i.gid = uint32(g)
		return nil
	}
	for fields := range i.table("etc/group") {
		if len(fields) < 3 || fields[0] != group {
			continue
		}
		if g, err := strconv.ParseUint(fields[2], 10, 31); err == nil {
			i.gid = uint32(g)
			return nil
		}
	}
	return errors.New("it has no group " + strconv.Quote(group))
}

// table yields the lines of a colon-separated file in the uppermost layer that has it.
func (i *image) table(name string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		f, err := sandbox.OpenInLayers(i.layers, name)
		if err != nil {
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
		for lines.Scan() {
			if !yield(strings.Split(lines.Text(), ":")) {
				return
			}
		}
	}
}

// appID is the ID of the revision's app; 0 where an older gitd made it.
func (r *revision) appID() int64 {
	if id, err := strconv.ParseInt(r.template.Template.Annotations[deploy.AppIDAnnotation], 10, 64); err == nil && id > 0 {
		return id
	}
	r.p.mu.RLock()
	defer r.p.mu.RUnlock()
	if s := r.p.services[r.service]; s != nil {
		return deploy.AppID(s.object)
	}
	return 0
}

// values returns the variables of the app's configuration that the template names.
func (r *revision) values(ctx context.Context) (map[string][]byte, error) {
	version, err := deploy.ConfigurationOf(&r.template.Template, r.service)
	if err == nil && version > 0 && r.p.opts.Config == nil {
		err = errors.New("there is no configuration here")
	}
	var values map[string][]byte
	if err == nil && version > 0 {
		values, err = r.p.opts.Config.Values(ctx, r.appID(), r.service, version)
	}
	if err != nil && ctx.Err() == nil {
		err = &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	return values, err
}

// spec returns the container for the template and the image, with the app's configuration.
func (r *revision) spec(ctx context.Context, img *image) (s sandbox.Spec, err error) {
	s = r.plainSpec(img)
	s.Secrets, err = r.values(ctx)
	return s, err
}

// plainSpec is without the configuration.
func (r *revision) plainSpec(img *image) sandbox.Spec {
	c := &r.template.Template.Spec.Containers[0]
	s := sandbox.Spec{
		Layers: img.layers, Dir: img.dir, UID: img.uid, GID: img.gid, Owner: r.p.opts.Host.UID(r.appID(), r.service), Hostname: r.name,
		Memory: r.memory(), Scratch: r.memory(), Egress: true,
	}
	if q, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]; ok && q.Value() > 0 {
		s.Scratch = q.Value()
	}
	if q, ok := c.Resources.Limits[corev1.ResourceCPU]; ok {
		s.CPU = q.AsApproximateFloat64()
	}
	// As in Kubernetes: command stands for the entry point, and without args of its own drops the image's.
	s.Args = append(append(s.Args, img.entrypoint...), img.command...)
	if len(c.Args) > 0 {
		s.Args = append(append([]string(nil), img.entrypoint...), c.Args...)
	}
	if len(c.Command) > 0 {
		s.Args = append(append([]string(nil), c.Command...), c.Args...)
	}
	if c.WorkingDir != "" {
		s.Dir = c.WorkingDir
	}
	if s.Dir == "" {
		s.Dir = "/"
	}
	env := newEnviron()
	env.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	env.set("HOME", img.home)
	for _, kv := range img.env {
		k, v, _ := strings.Cut(kv, "=")
		env.set(k, v)
	}
	if s.Serve = r.sink(); s.Serve != nil {
		s.Listen = sinkPort
		env.set(sinkVariable, sinkURL)
	}
	for _, e := range c.Env {
		env.set(e.Name, e.Value)
	}
	env.set("PORT", strconv.Itoa(r.port))
	env.set("K_SERVICE", r.service)
	env.set("K_CONFIGURATION", r.service)
	env.set("K_REVISION", r.name)
	s.Env = env.list()
	return s
}

// environ is a set of variables; a later value replaces an earlier one.
type environ struct {
	names  []string
	values map[string]string
}

func newEnviron() *environ { return &environ{values: map[string]string{}} }

func (e *environ) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environ) list() []string {
	out := make([]string, len(e.names))
	for i, n := range e.names {
		out[i] = n + "=" + e.values[n]
	}
	return out
}
