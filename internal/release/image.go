package release

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/pull"
	"github.com/gitd-io/gitd/internal/store"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// plainUser is whom ready images run as that name no user, or root: nothing runs as root.
const plainUser = 1000

// buildLabel of an image is what its buildpacks say of it.
const buildLabel = "io.buildpacks.build.metadata"

// ReadyImage asks for an image of another registry to be taken live.
type ReadyImage struct {
	pull.Wanted
	Port int // that it listens on; 0: the one that the image exposes, if that is one, else that of the release before
}

// DeployImage fetches an image from another registry and takes it live, with the settings of the release that is live, as a new entry in the ledger. An
// app that does not exist is created, as by a push. It returns an *app.Error: what is wrong with the image or its registry, or why it did not go live.
func (m *Machine) DeployImage(ctx context.Context, by app.Caller, name string, want ReadyImage, log *app.Log) (app.Result, error) {
	began := time.Now()
	if err := m.enoughDisk(); err != nil {
		return app.Result{}, err
	}
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbPush)
	if err != nil {
		return app.Result{}, err
	}
	limits := m.o.Limits.WithDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, limits.Time, app.Errorf(app.CodeLimitExceeded, "try again when the registry is faster, or make the image smaller", "the image was not live within %s", limits.Time))
	defer cancel()
	log.Step("Looking for %s", app.Plain(want.Reference))
	found, err := pull.Find(ctx, want.Wanted, pull.Options{Allowed: m.o.ImagesFrom, Most: limits.Disk})
	if err != nil {
		return app.Result{}, err
	}
	d := &deployment{m: m, by: by, log: log, start: began, release: app.Release{App: name, AppID: a.ID, Kind: app.KindImage, Ref: found.Reference, Subject: app.Line(found.Short, maxSubject)}}
	err = d.run(ctx, func(ctx context.Context) error {
		if err := d.pull(ctx, found); err != nil {
			return err
		}
		service, err := d.imageService(ctx, found, want.Port)
		if err != nil {
			return err
		}
		if err := d.runReleaseCommand(ctx, service); err != nil {
			return err
		}
		log.Step("Release v%d: starting revision %s", d.release.Version, d.release.Revision)
		if err := d.rollOutOnItsPort(ctx, want.Port != 0, launch{service: service}); err != nil {
			return err
		}
		a.Name, a.ID = name, d.release.AppID
		return m.o.SetLive(a, "")
	})
	return d.result(), err
}

// pull brings the image into the registry.
func (d *deployment) pull(ctx context.Context, found *pull.Found) error {
	defer d.m.leases.take()()
	if err := d.to(ctx, store.Event{State: app.StateBuilding}); err != nil {
		return err
	}
	if err := d.m.roomFor(found.Size); err != nil {
		return err
	}
	d.log.Step("Fetching %s (%s)", found.Short, app.Size(found.Size))
	began := time.Now()
	if err := os.MkdirAll(d.m.o.PullDir, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(d.m.o.PullDir, d.release.App+"-")
	if err != nil {
		return err
	}
	defer disk.RemoveAll(dir)
	img, err := found.Fetch(ctx, dir, d.liveImage(ctx))
	if err != nil {
		return err
	}
	if err := d.m.o.Shelf.AddImage(ctx, d.release.App, app.VersionName(d.release.Version), img); err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	d.release.Repository, d.release.Digest, d.release.Processes = d.release.App, digest.String(), processesIn(found)
	if err := checkProcesses(d.release.Processes); err != nil {
		return err
	}
	d.timings.Export = time.Since(began)
	d.log.Step("Image %s@%.11s… in %s", d.release.App, d.release.Digest, app.Elapsed(d.timings.Export))
	return d.to(ctx, store.Event{State: app.StateBuilt, Repository: d.release.Repository, Digest: d.release.Digest, Processes: d.release.Processes})
}

// roomFor refuses an image that would leave too little of the disk.
func (m *Machine) roomFor(bytes int64) error {
	free, err := disk.Free(m.o.LogDir)
	if err != nil {
		return err
	}
	if short := free.Short(m.o.MinFree + 2*bytes); short != "" { // packed, and about as much again unpacked
		m.askSweep()
		return app.Errorf(app.CodeLimitExceeded, "ask the operator to free space", "the server's disk has no room for an image of %s: %s", app.Size(bytes), short)
	}
	return nil
}

// liveImage is the image of the release that is live; nil for none.
func (d *deployment) liveImage(ctx context.Context) v1.Image {
	live, err := d.live(ctx)
	if live == nil || err != nil {
		return nil
	}
	img, err := d.m.o.Shelf.Image(live.Repository, live.Digest)
	if err != nil {
		return nil
	}
	return img
}

// processesIn are the process types of an image: those that buildpacks declared, or what the image runs by itself.
func processesIn(f *pull.Found) []app.Process {
	all := builtProcesses(f)
	if has(all, webProcess) {
		return all
	}
	return append(all, app.Process{Type: webProcess, Command: f.Config.Entrypoint, Args: f.Config.Cmd, Default: true})
}

// builtProcesses are the process types that buildpacks declared.
func builtProcesses(f *pull.Found) []app.Process {
	var built struct {
		Processes []struct {
			Type    string          `json:"type"`
			Command json.RawMessage `json:"command"` // one string, or a list
			Args    []string        `json:"args"`
		} `json:"processes"`
	}
	if json.Unmarshal([]byte(f.Labels[buildLabel]), &built) != nil {
		return nil
	}
	var all []app.Process
	for _, p := range built.Processes {
		var command []string
		var one string
		if json.Unmarshal(p.Command, &one) == nil {
			command = []string{one}
		} else {
			_ = json.Unmarshal(p.Command, &command)
		}
		all = append(all, app.Process{Type: p.Type, Command: command, Args: p.Args, Default: p.Type == webProcess})
	}
	return all
}

// imageService is the Service of an image's release: that of the release that is live with another image, or one with the defaults.
func (d *deployment) imageService(ctx context.Context, f *pull.Found, port int) (*servingv1.Service, error) {
	if len(f.Config.Entrypoint)+len(f.Config.Cmd) == 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "set an ENTRYPOINT or a CMD in the image", "the image does not say what to run")
	}
	d.release.Revision = app.RevisionName(d.release.App, d.release.Version)
	service, err := d.settingsNow(ctx)
	if err != nil {
		return nil, err
	}
	t := &service.Spec.Template
	c := &t.Spec.Containers[0]
	t.Name, t.Annotations[commitAnnotation], c.Image = d.release.Revision, "", d.release.Repository+"@"+d.release.Digest
	c.Command, c.Args, c.SecurityContext = nil, nil, nil
	if err := d.imageFunction(t, f); err != nil {
		return nil, err
	}
	if path := deploy.ProcessDir + webProcess; has(builtProcesses(f), webProcess) && !slices.Equal(f.Config.Entrypoint, []string{path}) {
		c.Command = []string{path}
	}
	if runsAsRoot(f.Config.User) {
		uid := int64(plainUser)
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: &uid, RunAsGroup: &uid}
		d.log.Detail("the image names no user but root: it runs as user %d, without rights", plainUser)
	}
	if exposed := onePort(f.Config); port == 0 && exposed != 0 {
		port = exposed
		d.log.Detail("the image exposes port %d: it is $PORT", port)
	}
	if port != 0 {
		delete(t.Annotations, portAnnotation)
		c.Ports[0].ContainerPort = int32(port)
	}
	return service, d.configure(ctx, service)
}

// imageFunction notes the function that an image serves, where it was built as one.
func (d *deployment) imageFunction(t *servingv1.RevisionTemplateSpec, f *pull.Found) error {
	serves, err := function.Parse(f.Labels[function.Label])
	if err != nil {
		return app.Errorf(app.CodeInvalidInput, "build the image again, or remove its label", "%s", app.Line(err.Error(), 300))
	}
	before, err := function.Of(t.Annotations)
	if err != nil {
		return err
	}
	if before != nil { // its settings were that function's
		if t.Annotations[pathAnnotation] == before.Health {
			t.Annotations[pathAnnotation] = "/"
		}
		if c := t.Spec.ContainerConcurrency; c != nil && *c == before.Concurrency {
			t.Spec.ContainerConcurrency = nil
		}
	}
	if serves != nil && serves.Concurrency > 0 {
		t.Spec.ContainerConcurrency = &serves.Concurrency
	}
	if serves != nil && serves.Health != "" && t.Annotations[pathAnnotation] == "/" {
		t.Annotations[pathAnnotation] = serves.Health
	}
	return function.Set(t.Annotations, serves)
}

// settingsNow is a Service with the settings of the release that is live, without workers, which a ready image does not have; with the defaults
// where none is.
func (d *deployment) settingsNow(ctx context.Context) (*servingv1.Service, error) {
	live, err := d.live(ctx)
	if err != nil {
		return nil, err
	}
	if live == nil {
		settings, err := project.Read(func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }, slices.Values[[]string](nil), d.release.App)
		if err != nil {
			return nil, err
		}
		if err := d.m.checkCaps(ctx, d.release, &settings, nil, nil); err != nil {
			return nil, err
		}
		return newService(d.release, &build.Result{Repository: d.release.Repository, Digest: d.release.Digest}, settings.Web, processes{web: true}), nil
	}
	service := live.service.DeepCopy()
	if len(service.Spec.Template.Spec.Containers) != 1 || len(service.Spec.Template.Spec.Containers[0].Ports) == 0 {
		return nil, errors.New("the service of the live release has no container with a port")
	}
	deploy.SetAppID(service, d.release.AppID)
	deploy.SetWithWeb(service)
	if workers := deploy.Workers(service); len(workers) > 0 {
		d.log.Detail("not in this image, and stopped: %s", strings.Join(deploy.WorkerTypes(workers), ", "))
		deploy.SetWorkers(service, nil)
	}
	return service, nil
}

// runsAsRoot says whether an image's USER is root, or is not set.
func runsAsRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	id, err := strconv.ParseInt(name, 10, 64)
	return name == "" || name == "root" || err == nil && id == 0
}

// onePort returns the TCP port that an image exposes; 0 where it is not one.
func onePort(c v1.Config) int {
	port := 0
	for p := range c.ExposedPorts {
		number, protocol, _ := strings.Cut(p, "/")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 65535 || protocol != "" && protocol != "tcp" {
			continue
		}
		if port != 0 {
			return 0
		}
		port = n
	}
	return port
}

// cleanPulls removes what an earlier process was fetching.
func (m *Machine) cleanPulls() {
	if !filepath.IsAbs(m.o.PullDir) {
		return
	}
	if err := disk.RemoveAll(m.o.PullDir); err != nil {
		m.o.Log("%s: %v", m.o.PullDir, err)
	}
}
