// Package knative_test runs gitd's parts against a real cluster.
package knative_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/kube"
	"github.com/gitd-io/gitd/internal/reexec"
	"github.com/gitd-io/gitd/internal/registry"
)

// Making the builder image runs functions of this program in processes of their own.
func init() { reexec.Init() }

// source is a tree in memory: a file's content, or "-> TARGET" for a link. Names that end with "+x" are programs.
type source map[string]string

func (s source) Checkout(_ context.Context, dir string, _, _ int) error {
	for name, content := range s {
		mode := fs.FileMode(0o644)
		if n, ok := strings.CutSuffix(name, "+x"); ok {
			name, mode = n, 0o755
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(to, file); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			return err
		}
	}
	return nil
}

func (s source) ReadFile(name string, _ int64) ([]byte, error) {
	if c, ok := s[name]; ok {
		return []byte(c), nil
	}
	return nil, fs.ErrNotExist
}

// folder is a tree on the disk.
type folder string

func (f folder) Checkout(_ context.Context, dir string, _, _ int) error {
	return os.CopyFS(dir, os.DirFS(string(f)))
}

func (f folder) ReadFile(name string, _ int64) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(f), name))
}

// log collects what a person would see.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// builds is an engine in a namespace of its own.
type builds struct {
	t         *testing.T
	client    *kube.Client
	images    *registry.Remote
	published *cluster.Published
	options   cluster.Options
	engine    *cluster.Engine
	app       string
	version   int
}

// environment returns a variable that says where the cluster is.
func environment(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: these tests need a cluster, see test/cluster", name)
	}
	return v
}

var publish = sync.OnceValues(func() (*cluster.Published, error) {
	ctx := context.Background()
	progress := app.NewLog(os.Stderr)
	b, err := builder.Ensure(ctx, builder.Options{Log: progress})
	if err != nil {
		return nil, err
	}
	images, err := registry.OpenRemote(registry.RemoteOptions{Prefix: os.Getenv("GITD_CLUSTER_REGISTRY"), Insecure: true})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	p, err := cluster.Publish(ctx, b, images, progress)
	progress.Detail("published in %.1f s", time.Since(began).Seconds())
	return p, err
})

func newBuilds(t *testing.T, change func(*cluster.Options)) *builds {
	t.Helper()
	outside, inside := environment(t, "GITD_CLUSTER_REGISTRY"), environment(t, "GITD_CLUSTER_REGISTRY_IN")
	client, err := kube.Open(environment(t, "KUBECONFIG"), "")
	if err != nil {
		t.Fatal(err)
	}
	published, err := publish()
	if err != nil {
		t.Fatal(err)
	}
	images, err := registry.OpenRemote(registry.RemoteOptions{Prefix: outside, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	b := &builds{t: t, client: client, images: images, published: published, app: "app-" + hex.EncodeToString(random)}
	namespace := "gitd-build-" + hex.EncodeToString(random)
	makeNamespace(t, client, namespace)
	b.options = cluster.Options{Client: client, Namespace: namespace, Images: images, Builder: published, Pull: inside, Insecure: true, Dir: t.TempDir(), Log: t.Logf}
	if change != nil {
		change(&b.options)
	}
	b.restart()
	return b
}

func makeNamespace(t *testing.T, client *kube.Client, name string) {
	t.Helper()
	namespaces := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	ctx := context.Background()
	// What builds need is little enough for the strictest standard.
	_, _, err := client.Apply(ctx, namespaces, &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Resource(namespaces, "").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// restart makes a new engine, as a new process would.
func (b *builds) restart() {
	b.t.Helper()
	e, err := cluster.New(context.Background(), b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.engine = e
	b.t.Cleanup(func() { _ = e.Close() })
}

func (b *builds) build(ctx context.Context, s build.Source, change func(*build.Request)) (*build.Result, string, error) {
	b.version++
	l := &log{}
	r := build.Request{App: b.app, Version: b.version, Commit: strings.Repeat("0", 40), Source: s, Log: app.NewLog(l), Limits: build.Limits{Time: 5 * time.Minute}}
	if change != nil {
		change(&r)
	}
	began := time.Now()
	result, err := b.engine.Build(ctx, r)
	if result != nil {
		b.t.Logf("build of v%d in %.1f s: %+v", r.Version, time.Since(began).Seconds(), result.Times)
	} else {
		b.t.Logf("build of v%d failed in %.1f s: %v", r.Version, time.Since(began).Seconds(), err)
	}
	return result, l.String(), err
}

func (b *builds) mustBuild(s build.Source) (*build.Result, string) {
	b.t.Helper()
	r, log, err := b.build(context.Background(), s, nil)
	if err != nil {
		message, next := app.Explain(err)
		b.t.Fatalf("%v\n%s\n%s\n%s", err, message, next, log)
	}
	b.t.Log("\n" + log)
	return r, log
}

// pods are the names of the Pods that are there.
func (b *builds) pods() []string {
	b.t.Helper()
	all, err := b.client.Resource(podResource, b.options.Namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, p := range all.Items {
		names = append(names, p.GetName())
	}
	return names
}

// noPods waits until no Pod is left: the last one of a build that went well goes when its cache is written.
func (b *builds) noPods() {
	b.t.Helper()
	eventually(b.t, time.Minute, func() error {
		if p := b.pods(); len(p) > 0 {
			return fmt.Errorf("Pods are left: %v", p)
		}
		return nil
	})
}

func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// goApp is one without dependencies.
func goApp(greeting string) source {
	return source{
		"go.mod":  "module example.com/hello\n\ngo 1.24\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, \"" + greeting + "\") })\n\t_ = http.ListenAndServe(\":\"+os.Getenv(\"PORT\"), nil)\n}\n",
		"link": "-> main.go",
	}
}

func TestBuildGo(t *testing.T) {
	b := newBuilds(t, nil)
	first, log := b.mustBuild(goApp("one"))
	for _, want := range []string{"-----> Detecting: Go (go.mod", "-----> Building with gitd/go ", "-----> Image " + b.app + "@" + first.Digest[:11]} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if first.Repository != b.app || len(first.Processes) != 1 || first.Processes[0].Type != "web" || !first.Processes[0].Default || first.LayersAdded == 0 {
		t.Errorf("%+v", first)
	}
	b.noPods()
	second, _ := b.mustBuild(goApp("two"))
	if second.LayersReused == 0 || second.Digest == first.Digest {
		t.Errorf("%+v", second)
	}
	b.noPods()
	third, _ := b.mustBuild(goApp("two"))
	if third.Digest != second.Digest || third.LayersAdded != 0 {
		t.Errorf("the same source made another image: %+v, then %+v", second, third)
	}
}

var _ = errors.Is
