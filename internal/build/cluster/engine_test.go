package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// fakeCluster is an API server whose Pods end as soon as they are made. What their containers say is by container; MARK stands for the marker.
// It takes no attachment: a Pod that says that it analyzed the image got the source another way.
type fakeCluster struct {
	says map[string]string
	code int  // exit status of the container that builds
	lost bool // the node is away since that container runs, and Kubernetes leaves its Pods as they are

	// mu guards the following.
	mu      sync.Mutex
	made    int
	pods    map[string]wire.Job // by name
	changed chan struct{}       // closed at the next deletion: watches end, and are made again
}

func (f *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	name := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/builds/pods/")
	name, of, _ := strings.Cut(name, "/")
	job, there := f.pods[name]
	changed := f.changed
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Has("watch"):
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/pods"):
		f.create(w, r)
	case r.URL.Path == "/api/v1/namespaces/builds/pods":
		_, _ = io.WriteString(w, `{"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}`)
	case !there:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}`)
	case of == "log" && f.lost && r.URL.Query().Get("container") == wire.Build:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "dial tcp 10.0.2.15:10250: connect: connection refused"}`)
	case of == "log":
		for line := range strings.Lines(strings.ReplaceAll(f.says[r.URL.Query().Get("container")], "MARK", job.Marker)) {
			_, _ = io.WriteString(w, "2026-01-02T03:04:05.000000006Z "+line)
		}
	case of == "attach":
		w.WriteHeader(http.StatusBadRequest)
	case r.Method == http.MethodDelete:
		f.mu.Lock()
		delete(f.pods, name)
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Success"}`)
	default:
		const ended = `{"name": %q, "state": {"terminated": {"exitCode": %d}}}`
		if f.lost {
			fmt.Fprintf(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": %q, "namespace": "builds"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending",
				"initContainerStatuses": [`+ended+`, {"name": %q, "state": {"running": {}}}]}}`, name, wire.Prepare, 0, wire.Build)
			return
		}
		fmt.Fprintf(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": %q, "namespace": "builds"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running",
			"initContainerStatuses": [`+ended+`, `+ended+`], "containerStatuses": [`+ended+`]}}`, name, wire.Prepare, 0, wire.Build, f.code, wire.Export, 0)
	}
}

func (f *fakeCluster) create(w http.ResponseWriter, r *http.Request) {
	var p struct {
		Metadata struct{ Name string }
		Spec     struct {
			Containers []struct{ Command []string }
		}
	}
	body, _ := io.ReadAll(r.Body)
	var job wire.Job
	if json.Unmarshal(body, &p) != nil || json.Unmarshal([]byte(p.Spec.Containers[0].Command[2]), &job) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.pods[p.Metadata.Name] = job
	f.made++
	f.mu.Unlock()
	_, _ = w.Write(body)
}

// images is a registry with one image.
type images struct{ open }

func (images) Tags(string) (map[string]string, error) {
	return map[string]string{"v1": "sha256:old"}, nil
}
func (images) Pushed(string, string) error   { return nil }
func (images) DeleteRepository(string) error { return nil }
func (images) PushConfig(string, ...string) ([]byte, error) {
	return nil, nil
}

func (images) Image(_, digest string) (v1.Image, error) {
	if digest != "sha256:new" {
		return nil, errors.New("no such image")
	}
	return mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"io.buildpacks.build.metadata": `{"processes": [{"type": "web", "command": ["serve"]}]}`}})
}

// source is a tree with one file.
type source struct{}

func (source) Checkout(_ context.Context, dir string, _, _ int) error {
	return os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o600)
}
func (source) ReadFile(string, int64) ([]byte, error) { return nil, os.ErrNotExist }

// on is an engine on that cluster.
func (f *fakeCluster) on(t *testing.T) *Engine {
	t.Helper()
	f.pods, f.changed = map[string]wire.Job{}, make(chan struct{})
	e, err := New(t.Context(), Options{Client: kubetest.Client(t, f), Namespace: "builds", Images: images{}, Pull: "r", Builder: &Published{Image: "b@sha256:1", RunImage: "run@sha256:2", UID: 1000, GID: 1000},
		Dir: t.TempDir(), Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(filepath.Dir(e.home)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.pods) > 0 {
			t.Errorf("Pods are left: %v", f.pods)
		}
	})
	return e
}

const (
	saysAnalyzed = `{"analyzed": {"ms": 5}}` + "\n"
	saysBuilt    = "\n" + `MARK group {"buildpacks": [{"id": "gitd/go", "version": "0.1.0"}], "ms": 7}` + "\nMARK detected 0\ncompiling\n" + `MARK ended {"ms": 11, "code": 0}` + "\n"
	saysExported = `{"exported": {"digest": "sha256:new", "ms": 13}}` + "\n" + `{"cached": {"ms": 1}}` + "\n"
)

// A build, whose Pod goes away in the background, and one right after it.
func TestBuild(t *testing.T) {
	f := &fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed, wire.Build: saysBuilt, wire.Export: saysExported}}
	e := f.on(t)
	for version := 2; version < 4; version++ {
		var log bytes.Buffer
		r, err := e.Build(t.Context(), build.Request{App: "hello", Version: version, Source: source{}, Log: app.NewLog(&log)})
		if err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		if times := r.Times; r.Repository != "hello" || r.Digest != "sha256:new" || len(r.Processes) != 1 || len(r.Buildpacks) != 1 ||
			times.Analyze != 5*time.Millisecond || times.Detect != 7*time.Millisecond || times.Build != 11*time.Millisecond || times.Export != 13*time.Millisecond {
			t.Errorf("%+v", r)
		}
		for _, line := range []string{"-----> Building with gitd/go 0.1.0\n", "       compiling\n", "-----> Image hello@sha256:new… (0 layers reused, 0 added) in "} {
			if !strings.Contains(log.String(), line) {
				t.Errorf("%q is missing in\n%s", line, log.String())
			}
		}
	}
	if f.made != 2 {
		t.Errorf("%d Pods", f.made)
	}
}

func TestBuild_Fails(t *testing.T) {
	for name, tt := range map[string]struct {
		cluster *fakeCluster
		code    app.Code
		message string
		pods    int
	}{
		"NoDelivery": {&fakeCluster{}, app.CodeUnavailable, "the source could not be handed to the build's Pod", 3},
		"Analyze": {&fakeCluster{says: map[string]string{wire.Prepare: `{"failed": {"phase": "analyze", "message": "denied"}}`}},
			app.CodeUnavailable, "the build's Pod cannot use the registry: denied", 1},
		"NoGroup": {&fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed, wire.Build: "\nMARK detected 0\n"}},
			app.CodeDetectFailed, "detection failed: its result cannot be read", 1},
		"Disk": {&fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed, wire.Build: strings.Replace(saysBuilt, `"code": 0`, `"code": 51, "limit": "disk"`, 1)}},
			app.CodeLimitExceeded, "disk limit", 1},
		"Build": {&fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed, wire.Build: strings.Replace(saysBuilt, `"code": 0`, `"code": 1`, 1)}, code: 1},
			app.CodeBuildFailed, "build failed: ", 1},
		"Export": {&fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed, wire.Build: saysBuilt, wire.Export: `{"failed": {"phase": "export", "message": "no space"}}`}},
			app.CodeExportFailed, "export failed: the image could not be written: no space", 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := tt.cluster.on(t)
			for range 2 { // the second: the lock was given back
				var log bytes.Buffer
				r, err := e.Build(t.Context(), build.Request{App: "hello", Version: 2, Source: source{}, Log: app.NewLog(&log)})
				if r != nil || app.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.message) {
					t.Errorf("%v, %v\n%s", r, err, log.String())
				}
			}
			if tt.cluster.made != 2*tt.pods {
				t.Errorf("%d Pods", tt.cluster.made)
			}
		})
	}
}

// A node that is lost, in a cluster that has no other, or has lost them all: Kubernetes leaves the Pod as it is.
func TestBuild_NodeLost(t *testing.T) {
	f := &fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed}, lost: true}
	e := f.on(t)
	e.reach = 300 * time.Millisecond
	_, err := e.Build(t.Context(), build.Request{App: "hello", Version: 2, Source: source{}, Log: app.NewLog(io.Discard)})
	apptest.WantError(t, err, app.CodeUnavailable, "the node n1 was lost during the build")
}

// A client that leaves ends its build: the Pod is removed before Build returns.
func TestBuild_Cancelled(t *testing.T) {
	f := &fakeCluster{says: map[string]string{wire.Prepare: saysAnalyzed, wire.Build: saysBuilt}}
	e := f.on(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("the client left")
	log := writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("compiling")) {
			cancel(left)
		}
		return len(p), nil
	})
	_, err := e.Build(ctx, build.Request{App: "hello", Version: 2, Source: source{}, Log: app.NewLog(log)})
	if !errors.Is(err, left) || !strings.Contains(err.Error(), "build of hello v2 stopped") {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pods) > 0 {
		t.Errorf("Pods are left: %v", f.pods)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
