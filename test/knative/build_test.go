// Package knative_test runs gitd's parts against a real cluster.
package knative_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/kube"
	"github.com/gitd-io/gitd/internal/registry"
)

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

var publish = sync.OnceValues(func() (*cluster.Published, error) {
	ctx := context.Background()
	progress := app.NewLog(os.Stderr)
	b, err := builder.Ensure(ctx, builder.Options{Log: progress})
	if err != nil {
		return nil, err
	}
	images, err := registry.OpenRemote(registry.RemoteOptions{Prefix: pushTo, Insecure: true})
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
	client := client(t)
	published, err := publish()
	if err != nil {
		t.Fatal(err)
	}
	images, err := registry.OpenRemote(registry.RemoteOptions{Prefix: pushTo, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	// What builds need is little enough for the strictest standard.
	namespace := newNamespace(t, client, "build", "pod-security.kubernetes.io/enforce=restricted")
	b := &builds{t: t, client: client, images: images, published: published, app: "app-" + strings.TrimPrefix(namespace, "build-")}
	b.options = cluster.Options{Client: client, Namespace: namespace, Images: images, Builder: published, Pull: pullFrom, Insecure: true, Dir: t.TempDir(), Log: apptest.Logger(t)}
	if change != nil {
		change(&b.options)
	}
	b.restart()
	return b
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

func (b *builds) build(ctx context.Context, s app.Source, change func(*build.Request)) (*build.Result, string, error) {
	b.version++
	l := &apptest.Buffer{}
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

func (b *builds) mustBuild(s app.Source) (*build.Result, string) {
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
	all, err := b.client.Resource(core("pods"), b.options.Namespace).List(context.Background(), metav1.ListOptions{})
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

// goApp is one without dependencies.
func goApp(greeting string) source {
	return source{
		"go.mod":  "module example.com/hello\n\ngo 1.24\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, \"" + greeting + "\") })\n\t_ = http.ListenAndServe(\":\"+os.Getenv(\"PORT\"), nil)\n}\n",
		"link":    "-> main.go",
	}
}

func TestBuildGo(t *testing.T) {
	t.Parallel()
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
