package knative_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster"
)

// script is a Node.js app whose build runs a shell script.
func script(lines ...string) source {
	return source{
		"package.json":      `{"name":"a","version":"1.0.0","scripts":{"build":"sh build.sh","start":"node server.js"}}`,
		"package-lock.json": `{"name":"a","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"a","version":"1.0.0"}}}`,
		"server.js":         "require('http').createServer((q, r) => r.end('hello')).listen(process.env.PORT)",
		"build.sh":          strings.Join(lines, "\n") + "\n",
	}
}

func TestBuildFails(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	broken := goApp("x")
	broken["main.go"] = "package main\n\nfunc main() { undefinedFunction() }\n"
	_, log, err := b.build(context.Background(), broken, nil)
	apptest.WantError(t, err, app.CodeBuildFailed, "build by gitd/go ", "main.go:3:15: undefined: undefinedFunction")
	if strings.Contains(log, "-----> Image") {
		t.Errorf("an image:\n%s", log)
	}
	_, _, err = b.build(context.Background(), source{"README": "x"}, nil)
	apptest.WantError(t, err, app.CodeDetectFailed, "no language detected: looked for ", "go.mod")
	_, log, err = b.build(context.Background(), source{"package.json": "{"}, nil)
	apptest.WantError(t, err, app.CodeDetectFailed, "package.json is not valid JSON")
	if strings.Contains(log, "Building with") {
		t.Errorf("it went on:\n%s", log)
	}
	failing := app.Errorf(app.CodeInvalidInput, "use fewer files", "the tree has too many files")
	_, _, err = b.build(context.Background(), failingSource{failing}, nil)
	if !errors.Is(err, failing) {
		t.Errorf("got %v, want the checkout's error", err)
	}
	b.noPods()
}

type failingSource struct{ err error }

func (f failingSource) Checkout(context.Context, string, int, int) error { return f.err }
func (f failingSource) ReadFile(string, int64) ([]byte, error)           { return nil, f.err }

func TestBuildCancelled(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := app.Errorf(app.CodeSuperseded, "", "replaced by a newer push")
	l := &apptest.Buffer{}
	ended := make(chan error, 1)
	go func() {
		_, err := b.engine.Build(ctx, build.Request{App: b.app, Version: 1, Source: script("echo started", "sleep 1000"), Log: app.NewLog(l)})
		ended <- err
	}()
	eventually(t, 3*time.Minute, func() error { return lacks(l.String(), "       started\n") })
	next := make(chan error, 1)
	go func() {
		_, err := b.engine.Build(context.Background(), build.Request{App: b.app, Version: 2, Source: goApp("x"), Log: app.NewLog(l)})
		next <- err
	}()
	eventually(t, time.Minute, func() error { return lacks(l.String(), "waiting for the build before") })
	before := b.pods()
	began := time.Now()
	cancel(cause)
	err := <-ended
	t.Logf("cancelled in %.1f s", time.Since(began).Seconds())
	if !errors.Is(err, cause) || app.CodeOf(err) != app.CodeSuperseded {
		t.Errorf("got %v", err)
	}
	for _, p := range b.pods() {
		if len(before) > 0 && p == before[0] {
			t.Errorf("the Pod %s is left", p)
		}
	}
	if err := <-next; err != nil {
		t.Errorf("the build after it: %v\n%s", err, l.String())
	}
	done, stop := context.WithCancel(context.Background())
	stop()
	if _, _, err := b.build(done, goApp("x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b.noPods()
}

func TestBuildLimits(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	for _, c := range []struct {
		what   string
		source source
		limits build.Limits
		words  []string
	}{
		{"memory", script("echo start", "head -c 600000000 /dev/zero | tail -c 600000000 > /dev/null"), build.Limits{Memory: 256 << 20}, []string{"memory limit of 256 MiB", "build by gitd/nodejs"}},
		{"time", script("sleep 1000"), build.Limits{Time: 30 * time.Second}, []string{"time limit of 30s", "in the "}},
		{"disk", script("i=0; while [ $i -lt 100 ]; do i=$((i+1)); head -c 8000000 /dev/zero > /tmp/f$i; done; sleep 1000"), build.Limits{Disk: 256 << 20}, []string{"disk limit of 256 MiB"}},
		{"disk, at home", script("i=0; while [ $i -lt 100 ]; do i=$((i+1)); head -c 8000000 /dev/zero > $HOME/f$i; done; sleep 1000"), build.Limits{Disk: 256 << 20}, []string{"disk limit of 256 MiB"}},
		{"one file", script("head -c 300000000 /dev/zero > /tmp/f || exit 1"), build.Limits{Disk: 256 << 20}, []string{"disk limit of 256 MiB"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, log, err := b.build(context.Background(), c.source, func(r *build.Request) {
				if c.limits.Time == 0 {
					c.limits.Time = 5 * time.Minute
				}
				r.Limits = c.limits
			})
			if app.CodeOf(err) != app.CodeLimitExceeded {
				t.Log(log)
			}
			apptest.WantError(t, err, app.CodeLimitExceeded, c.words...)
		})
	}
	b.noPods()
}

// TestBuildCannotStart: what stands in the way is told within seconds.
func TestBuildCannotStart(t *testing.T) {
	t.Parallel()
	t.Run("no such builder image", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, func(o *cluster.Options) {
			p := *o.Builder
			p.Image = "gitd/builder@sha256:" + strings.Repeat("0", 64)
			o.Builder = &p
		})
		_, _, err := b.build(context.Background(), goApp("x"), nil)
		apptest.WantError(t, err, app.CodeUnavailable, "cannot pull the builder image", "not found")
		b.noPods()
	})
	t.Run("a registry that nodes cannot reach", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, func(o *cluster.Options) { o.Pull, o.Push = "127.0.0.1:9", o.Pull })
		_, _, err := b.build(context.Background(), goApp("x"), nil)
		apptest.WantError(t, err, app.CodeUnavailable, "cannot pull the builder image", "connection refused")
		b.noPods()
	})
	t.Run("a registry that Pods cannot reach", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, func(o *cluster.Options) { o.Push = "127.0.0.1:9" })
		_, _, err := b.build(context.Background(), goApp("x"), nil)
		apptest.WantError(t, err, app.CodeUnavailable, "cannot use the registry", "connection refused")
		b.noPods()
	})
	t.Run("no room", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, func(o *cluster.Options) { o.StorageClass = "missing" })
		_, log, err := b.build(context.Background(), goApp("x"), nil)
		apptest.WantError(t, err, app.CodeUnavailable, "no node took the build within 1m0s: ")
		if !strings.Contains(log, "waiting for a node (at most 1m0s): ") {
			t.Errorf("it was not told at once:\n%s", log)
		}
		b.noPods()
	})
	t.Run("quota", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, nil)
		quota := &corev1.ResourceQuota{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"}, ObjectMeta: metav1.ObjectMeta{Name: "few", Namespace: b.options.Namespace},
			Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("0")}}}
		if _, _, err := b.client.Apply(context.Background(), schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}, quota); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.build(context.Background(), goApp("x"), nil)
		apptest.WantError(t, err, app.CodeLimitExceeded, "cannot start the build's Pod", "quota")
	})
	t.Run("rights", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, nil)
		b.options.Client = clientAs(t, is("stranger"))
		if _, err := cluster.New(context.Background(), b.options); err == nil {
			t.Error("an engine without any rights")
		} else {
			apptest.WantError(t, err, app.CodeUnavailable, "list the Pods of earlier builds", "stranger", "list pods")
		}
	})
	t.Run("a namespace that goes", func(t *testing.T) {
		t.Parallel()
		b := newBuilds(t, nil)
		ctx := context.Background()
		held := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "held", Namespace: b.options.Namespace, Finalizers: []string{"gitd.io/test"}}}
		configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
		if _, _, err := b.client.Apply(ctx, configMaps, held); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_, err := b.client.Resource(configMaps, b.options.Namespace).Patch(ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			if err != nil {
				t.Error(err)
			}
		}()
		if err := b.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "").Delete(ctx, b.options.Namespace, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.build(ctx, goApp("x"), nil)
		apptest.WantError(t, err, app.CodeUnavailable, "cannot start the build's Pod", "is being deleted")
	})
}

// TestBuildLost: the Pod is removed from outside; a process that was killed leaves one.
func TestBuildLost(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	under := func(name string) (*apptest.Buffer, chan error) {
		l := &apptest.Buffer{}
		ended := make(chan error, 1)
		e := b.engine
		go func() {
			_, err := e.Build(context.Background(), build.Request{App: name, Version: 1, Source: script("echo started", "sleep 1000"), Log: app.NewLog(l)})
			ended <- err
		}()
		eventually(t, 3*time.Minute, func() error { return lacks(l.String(), "       started\n") })
		return l, ended
	}
	_, ended := under(b.app)
	grace := int64(0)
	for _, p := range b.pods() {
		if err := b.client.Resource(core("pods"), b.options.Namespace).Delete(context.Background(), p, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
			t.Fatal(err)
		}
	}
	apptest.WantError(t, <-ended, app.CodeUnavailable, "removed from outside gitd")
	b.noPods()

	_, ended = under(b.app)
	other := b.options
	other.Instance = "another"
	e, err := cluster.New(context.Background(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if len(b.pods()) != 1 {
		t.Fatal("another instance removed our Pod")
	}
	b.restart()
	b.noPods()
	apptest.WantError(t, <-ended, app.CodeUnavailable, "removed from outside gitd")
}
