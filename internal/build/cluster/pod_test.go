package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

// asking is a registry that wants credentials.
type asking struct{ Images }

func (asking) PullConfig(string, string) ([]byte, error) {
	return []byte(`{"auths":{"r":{"auth":"cHVsbA=="}}}`), nil
}

// open is one that does not.
type open struct{ Images }

func (open) PullConfig(string, string) ([]byte, error) { return nil, nil }

func testEngine(images Images, storage string) *Engine {
	return &Engine{o: Options{Namespace: "builds", Instance: "one", Images: images, Pull: "nodes.example:5000/team", Push: "pods.example:5000/team", Insecure: true, StorageClass: storage,
		Builder: &Published{Image: "gitd/builder@sha256:1", RunImage: "gitd/run@sha256:2", API: "0.15", UID: 1000, GID: 1001}}}
}

func TestPod(t *testing.T) {
	request := build.Request{App: "hello", Version: 7, Env: map[string]string{"TOKEN": "build-secret"}}
	for _, c := range []struct {
		what    string
		images  Images
		storage string
	}{{"plain", open{}, ""}, {"with credentials", asking{}, ""}, {"with a volume", asking{}, "standard"}} {
		t.Run(c.what, func(t *testing.T) {
			e := testEngine(c.images, c.storage)
			limits := build.Limits{CPU: 0.05, Memory: 100 << 20, Time: 10 * time.Minute}.WithDefaults()
			s := spec{name: "build-hello", app: "hello", version: 7, limits: limits, job: e.job(request, limits, "sha256:3", "MARK")}
			if c.storage != "" {
				s.claim = "gitd-cache-hello"
			}
			p, err := e.pod(s)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"cHVsbA", "build-secret"} {
				if strings.Contains(string(text), secret) {
					t.Errorf("%q is in the Pod", secret)
				}
			}
			for name, want := range map[string]string{labelManaged: "gitd", labelInstance: "one", labelApp: "hello", labelVersion: "7", labelComponent: "build"} {
				if p.Labels[name] != want {
					t.Errorf("label %s is %q, want %q", name, p.Labels[name], want)
				}
			}
			if *p.Spec.AutomountServiceAccountToken || *p.Spec.ActiveDeadlineSeconds != 660 || *p.Spec.SecurityContext.RunAsUser != 1000 || *p.Spec.SecurityContext.RunAsGroup != 1001 {
				t.Errorf("%+v", p.Spec)
			}
			if (len(p.Spec.ImagePullSecrets) == 1) != (c.what != "plain") {
				t.Errorf("pull secrets %v", p.Spec.ImagePullSecrets)
			}
			var names []string
			for _, k := range append(slices.Clone(p.Spec.InitContainers), p.Spec.Containers...) {
				names = append(names, k.Name)
				checkContainer(t, &k, c.storage != "")
			}
			if got := strings.Join(names, " "); got != "prepare build export" {
				t.Errorf("containers %s", got)
			}
			var job wire.Job
			if err := json.Unmarshal([]byte(p.Spec.Containers[0].Command[2]), &job); err != nil {
				t.Fatal(err)
			}
			if job.Output != "pods.example:5000/team/hello:v7" || job.Previous != "pods.example:5000/team/hello@sha256:3" || job.Insecure != "pods.example:5000" ||
				job.RunImage != "pods.example:5000/team/gitd/run@sha256:2" || (job.Cache == "") != (c.storage != "") || (job.CacheDir == "") != (c.storage == "") {
				t.Errorf("%+v", job)
			}
		})
	}
}

// checkContainer looks at what a container is, and what it may see; volume says whether the cache is one.
func checkContainer(t *testing.T, k *corev1.Container, volume bool) {
	t.Helper()
	if k.Image != "nodes.example:5000/team/gitd/builder@sha256:1" || k.ImagePullPolicy != corev1.PullIfNotPresent || len(k.Env)+len(k.EnvFrom) > 0 {
		t.Errorf("%+v", k)
	}
	if k.Resources.Requests.Cpu().Cmp(*k.Resources.Limits.Cpu()) > 0 || k.Resources.Requests.Memory().Cmp(*k.Resources.Limits.Memory()) > 0 {
		t.Errorf("%s asks for more than it may take: %v", k.Name, k.Resources)
	}
	knows := slices.ContainsFunc(k.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "credentials" })
	if knows != (k.Name != wire.Build) {
		t.Errorf("%s sees the credentials: %v", k.Name, knows)
	}
	for _, m := range k.VolumeMounts {
		if m.Name == "cache" && (m.SubPath == "build" && m.MountPath == "/gitd-cache/build") != (k.Name == wire.Build) {
			t.Errorf("%s: %+v", k.Name, m)
		}
	}
	if cache := slices.ContainsFunc(k.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "cache" }); cache != volume {
		t.Errorf("%s sees a cache: %v", k.Name, cache)
	}
}

func TestProcesses(t *testing.T) {
	config := func(label, entrypoint string) *v1.ConfigFile {
		return &v1.ConfigFile{Config: v1.Config{Labels: map[string]string{"io.buildpacks.build.metadata": label}, Entrypoint: []string{entrypoint}}}
	}
	all, err := processes(config(`{"processes":[{"type":"web","command":["hello","-v"],"args":["x"]},{"type":"worker","command":"work"}]}`, "/cnb/process/web"))
	if err != nil || len(all) != 2 || !all[0].Default || all[1].Default || strings.Join(all[0].Command, " ") != "hello -v" || strings.Join(all[1].Command, " ") != "work" {
		t.Errorf("%+v, %v", all, err)
	}
	all, err = processes(config(`{}`, "/cnb/lifecycle/launcher"))
	if err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, bad := range []string{"", "[]", `{"processes":[{"command":1}]}`} {
		if _, err := processes(config(bad, "")); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestInvalidApp(t *testing.T) {
	e := testEngine(open{}, "")
	if _, err := e.Build(context.Background(), build.Request{App: "../x"}); app.CodeOf(err) != app.CodeInvalidName {
		t.Errorf("got %v", err)
	}
	if err := e.PurgeCache(context.Background(), "../x"); app.CodeOf(err) != app.CodeInvalidName {
		t.Errorf("got %v", err)
	}
}
