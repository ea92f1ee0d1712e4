package local

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/contract"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// withProcesses is the test app's image with these process types; each of them is the app itself.
func withProcesses(t *testing.T, types ...string) v1.Image {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range types {
		if err := w.WriteHeader(&tar.Header{Name: "cnb/process/" + p, Typeflag: tar.TypeSymlink, Linkname: "/app/testapp", Mode: 0o777}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(contract.Image(t), layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// version is a Service with one more revision, which gets no traffic: no instance of its web process is in the way.
func version(name, version, image string, env ...string) *servingv1.Service {
	svc := newService(name, image, append(env, "VERSION="+version)...)
	svc.Spec.Template.Name = name + "-" + version
	none, all := int64(0), int64(100)
	svc.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: name + "-v0", Percent: &all}, {RevisionName: name + "-" + version, Percent: &none}}
	return svc
}

// base applies a first revision, NAME-v0.
func base(t *testing.T, p *Platform, name, image string) {
	t.Helper()
	svc := newService(name, image)
	svc.Spec.Template.Name = name + "-v0"
	if err := p.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
}

// one is one instance of each of these workers.
func one(types ...string) []deploy.Worker {
	workers := []deploy.Worker{}
	for _, t := range types {
		workers = append(workers, deploy.Worker{Type: t, Instances: 1})
	}
	return workers
}

func set(t *testing.T, p *Platform, svc *servingv1.Service, types ...string) {
	t.Helper()
	if err := p.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	if err := p.SetWorkers(t.Context(), svc, one(types...)); err != nil {
		t.Fatal(err)
	}
}

// running are the containers of workers that run, by "REVISION TYPE".
func (m *machine) running(t *testing.T) map[string]*sandbox.Container {
	t.Helper()
	all, err := m.host.Containers(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*sandbox.Container{}
	for _, c := range all {
		if c.Labels[labelProcess] == "" {
			continue
		}
		select {
		case <-c.Done():
			continue
		default:
		}
		key := c.Labels[labelRevision] + " " + c.Labels[labelProcess]
		if found[key] != nil {
			t.Errorf("%s runs twice", key)
		}
		found[key] = c
	}
	return found
}

func keys(m map[string]*sandbox.Container) string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (m *machine) become(t *testing.T, want string) map[string]*sandbox.Container {
	t.Helper()
	var found map[string]*sandbox.Container
	apptest.Eventually(t, time.Minute, "these run: "+want, func() bool {
		found = m.running(t)
		return keys(found) == want
	})
	return found
}

// another waits until the workers that run are want, and one that was killed, which may be listed for a moment, is no longer among them.
func (m *machine) another(t *testing.T, want string, killed *sandbox.Container) (found map[string]*sandbox.Container) {
	t.Helper()
	apptest.Eventually(t, time.Minute, "these run, started again: "+want, func() bool {
		found = m.running(t)
		for _, c := range found {
			if c.ID == killed.ID {
				return false
			}
		}
		return keys(found) == want
	})
	return found
}

func logsOf(t *testing.T, p *Platform, service string) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Logs(t.Context(), service, deploy.LogOptions{}, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Workers follow the revision that they are set for, never two of a type at once, and go with the Service.
func TestWorkers(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.open(t, nil)
	image := m.add(t, "testapp", withProcesses(t, "worker", "clock"))
	base(t, p, "jobs", image)
	v1, v2 := version("jobs", "v1", image), version("jobs", "v2", image)
	v1.Spec.Template.Spec.Containers[0].Env = append(v1.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "GREETING", Value: "hi"})

	set(t, p, v1, "worker", "clock")
	first := m.become(t, "jobs-v1 clock, jobs-v1 worker")
	apptest.Eventually(t, time.Minute, "both tell so", func() bool {
		log := logsOf(t, p, "jobs")
		return strings.Contains(log, "[jobs-v1 worker.1] v1 starts as ") && strings.Contains(log, "[jobs-v1 clock.1] v1 starts as ")
	})
	if err := p.SetWorkers(t.Context(), v1, one("clock", "worker", "clock")); err != nil {
		t.Fatal(err)
	}
	for k, c := range m.running(t) {
		if first[k].ID != c.ID {
			t.Errorf("%s was started again", k)
		}
	}

	set(t, p, v2, "worker")
	m.become(t, "jobs-v2 worker")
	set(t, p, v1, "worker")
	m.become(t, "jobs-v1 worker")
	if err := p.SetWorkers(t.Context(), v1, nil); err != nil {
		t.Fatal(err)
	}
	m.become(t, "")

	set(t, p, v2, "worker")
	m.become(t, "jobs-v2 worker")
	v1.Spec.Traffic = v1.Spec.Traffic[:1]
	if err := p.Apply(t.Context(), v1); err != nil {
		t.Fatal(err)
	}
	if err := p.DeleteRevision(t.Context(), "jobs", "jobs-v2"); err != nil {
		t.Fatal(err)
	}
	if left := keys(m.running(t)); left != "" {
		t.Errorf("left after its revision was deleted: %s", left)
	}
	set(t, p, v1, "worker", "clock")
	if err := p.Delete(t.Context(), "jobs"); err != nil {
		t.Fatal(err)
	}
	all, err := m.host.Containers(t.Context())
	if err != nil || len(all) > 0 {
		t.Errorf("%d containers are left, %v", len(all), err)
	}
}

func TestWorkers_Refused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.open(t, nil)
	image := m.add(t, "testapp", contract.Image(t))
	base(t, p, "jobs", image)
	if err := p.SetWorkers(t.Context(), version("jobs", "v1", image), one("../../bin/sh")); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a path as type: %v", err)
	}
	for _, svc := range []*servingv1.Service{version("jobs", "v1", image), version("other", "v1", image)} {
		if err := p.SetWorkers(t.Context(), svc, one("worker")); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: %v", svc.Name, err)
		}
	}
}

// A worker that ends, or that cannot be started, is started again, and its log says so.
func TestWorkers_StartedAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.open(t, nil)
	base(t, p, "jobs", m.add(t, "testapp", contract.Image(t)))
	image := m.add(t, "testapp", withProcesses(t, "worker"))
	set(t, p, version("jobs", "v1", image, "MODE=exit"), "worker", "missing")
	want := regexp.MustCompile(`(?s)worker.1\] cannot find the database\n.*gitd: worker exited with status 3; it is restarted in 1s\n.*` +
		`cannot find the database\n.*exited with status 3; it is restarted in 2s`)
	missing := regexp.MustCompile(`jobs-v1 missing.1\] gitd: missing did not start: .*; it is restarted in 1s`)
	apptest.Eventually(t, time.Minute, "a second start", func() bool { log := logsOf(t, p, "jobs"); return want.MatchString(log) && missing.MatchString(log) })
	if files := logsIn(p.logDir("jobs", "jobs-v1")); len(files) != 2 {
		t.Errorf("%d logs", len(files))
	}

	set(t, p, version("jobs", "v2", image), "worker")
	before := m.become(t, "jobs-v2 worker")["jobs-v2 worker"]
	if err := before.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, time.Minute, "another one", func() bool {
		c := m.running(t)["jobs-v2 worker"]
		return c != nil && c.ID != before.ID
	})
	if log := logsOf(t, p, "jobs"); !strings.Contains(log, "gitd: worker was terminated by a signal (killed)") {
		t.Error(log)
	}
	if err := p.Delete(t.Context(), "jobs"); err != nil {
		t.Fatal(err)
	}
}

// The next process continues the workers: it replaces those that ended meanwhile, and stops those that should not run.
func TestWorkers_Restart(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.open(t, nil)
	image := m.add(t, "testapp", withProcesses(t, "worker", "clock", "old"))
	base(t, p, "jobs", image)
	v1 := version("jobs", "v1", image)
	set(t, p, v1, "worker", "clock", "old")
	before := m.become(t, "jobs-v1 clock, jobs-v1 old, jobs-v1 worker")
	apptest.Eventually(t, time.Minute, "they talk", func() bool { return strings.Count(logsOf(t, p, "jobs"), "v1 starts as") == 3 })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got := keys(m.running(t)); got != keys(before) {
		t.Fatalf("after Close: %s", got)
	}
	if err := before["jobs-v1 clock"].Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	s := store{filepath.Join(m.dir, "deploy", "services")}
	if err := s.saveWorkers("jobs", workerSet{Revision: "jobs-v1", Types: []string{"clock", "worker"}}); err != nil {
		t.Fatal(err)
	}

	p = m.open(t, nil)
	after := m.another(t, "jobs-v1 clock, jobs-v1 worker", before["jobs-v1 clock"])
	if after["jobs-v1 worker"].ID != before["jobs-v1 worker"].ID {
		t.Error("the one that ran was started again")
	}
	log := logsOf(t, p, "jobs")
	if !strings.Contains(log, "clock.1] gitd: clock was terminated by a signal (killed); it is restarted in 1s") {
		t.Error(log)
	}
	if n := len(logsIn(p.logDir("jobs", "jobs-v1"))); n != 3 {
		t.Errorf("%d logs", n)
	}

	p = toldAgain(t, m, p)

	// Nothing of them is left, as after a reboot of the machine.
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range after {
		if err := c.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p = m.open(t, nil)
	m.become(t, "jobs-v1 clock, jobs-v1 worker")
	if n := len(logsIn(p.logDir("jobs", "jobs-v1"))); n != 3 {
		t.Errorf("%d logs", n)
	}
	if err := p.Delete(t.Context(), "jobs"); err != nil {
		t.Fatal(err)
	}
}

// toldAgain restarts gitd: how often a worker was restarted, and how it ended, the next process knows too.
func toldAgain(t *testing.T, m *machine, p *Platform) *Platform {
	t.Helper()
	told := func() (all []string) {
		list, err := p.Instances(t.Context(), "jobs", false)
		for _, in := range list {
			if in.Type != deploy.WebProcess {
				all = append(all, fmt.Sprintf("%s %d %v %v", in.Name, in.Restarts, in.Ended, !in.EndedAt.IsZero()))
			}
		}
		return append(all, fmt.Sprint(err))
	}
	want := told()
	if !strings.HasPrefix(want[0], "clock.1 1 ") || !strings.HasSuffix(want[0], " true") || !strings.Contains(want[1], "worker.1 0 ") {
		t.Error(want)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = m.open(t, nil)
	if got := told(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after a restart of gitd: %v, before: %v", got, want)
	}
	return p
}

func TestRestarts(t *testing.T) {
	var r restarts
	for i, c := range []struct{ alive, want time.Duration }{
		{0, time.Second}, {0, 2 * time.Second}, {59 * time.Second, 4 * time.Second}, {0, 8 * time.Second}, {0, 16 * time.Second}, {0, 32 * time.Second},
		{0, time.Minute}, {0, time.Minute}, {time.Minute, time.Second}, {-time.Hour, 2 * time.Second}, {time.Hour, time.Second},
	} {
		if got := r.after(c.alive); got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
}
