// Package knative_test runs gitd's parts against a real cluster.
package knative_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
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
	namespace := newNamespace(t, client, "gitd-build", "pod-security.kubernetes.io/enforce=restricted")
	b := &builds{t: t, client: client, images: images, published: published, app: "app-" + strings.TrimPrefix(namespace, "gitd-build-")}
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

func lacks(s, want string) error {
	if !strings.Contains(s, want) {
		return fmt.Errorf("lacks %q:\n%s", want, s)
	}
	return nil
}

// withSecret is a registry that wants credentials of a known look.
type withSecret struct{ *registry.Remote }

const secretWord = "c2VjcmV0OnBhc3N3b3JkLW9mLXRoZS1yZWdpc3RyeQ=="

func (withSecret) PushConfig(string, ...string) ([]byte, error) {
	return []byte(`{"auths":{"registry.invalid":{"auth":"` + secretWord + `"}}}`), nil
}

func (withSecret) PullConfig(string, string) ([]byte, error) {
	return []byte(`{"auths":{"registry.invalid":{"auth":"` + secretWord + `"}}}`), nil
}

// TestBuildHostile is a build that looks for what is not its own.
func TestBuildHostile(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretWord)
	b := newBuilds(t, func(o *cluster.Options) { o.Images = withSecret{o.Images.(*registry.Remote)} })
	r, log := b.mustBuild(script(
		"reached() { echo REACHED: $*; }",
		"id; env",
		"ls -d /gitd-credentials 2>/dev/null && reached credentials",
		"ls -d /var/run/secrets/kubernetes.io 2>/dev/null && reached service account",
		"grep -rs "+secretWord[:20]+" / --include=config.json 2>/dev/null | grep -v build.sh && reached config.json",
		"cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -i -E 'docker_config|registry_auth=.*auths|aws_secret' && reached environment",
		"ls /proc | grep -E '^[0-9]+$' | while read p; do tr '\\0' ' ' < /proc/$p/cmdline 2>/dev/null; echo; done | grep -E 'gitd-pod [pe]|kubele[t]|container[d]|gitd serv[e]' && reached processes",
		"touch /platform/x 2>/dev/null && reached platform",
		"touch /cnb/lifecycle/lifecycle 2>/dev/null && reached lifecycle",
		"touch "+"/opt/gitd/bin/gitd-pod 2>/dev/null && reached program",
		"mount -t tmpfs x /mnt 2>/dev/null && reached mount",
		"grep -E 'CapEff:.*[1-9a-f]' /proc/self/status && reached capabilities",
		"grep -E 'NoNewPrivs:.*0' /proc/self/status && reached privileges",
		"grep -E 'Seccomp:.*0$' /proc/self/status && reached seccomp",
		"[ -e /run/containerd ] && reached containerd",
		// What is left behind for the exporter, which knows the credentials: links out of its sight, copied as links.
		"ln -s /gitd-credentials/config.json stolen; ln -s /gitd-credentials stolen.dir",
		"ln -s /proc/1/environ environ",
		"( sleep 1000 > /dev/null 2>&1 & ) ; echo tried"))
	if !strings.Contains(log, "tried") || !strings.Contains(log, "uid=1000") {
		t.Error("the script did not run")
	}
	if strings.Contains(log, "REACHED") || strings.Contains(log, secretWord) {
		t.Errorf("the build got out")
	}
	for _, name := range []string{"workspace/stolen", "workspace/environ"} {
		if got := fileInImage(t, b.images, b.app, r.Digest, name); !strings.HasPrefix(got, "-> ") {
			t.Errorf("%s in the image is %q, not the link", name, got)
		}
	}
	if where := inImage(t, b.images, b.app, r.Digest, secretWord); where != "" {
		t.Errorf("the credentials are in the image: %s", where)
	}
	// Files of the phases that are not what they should be.
	_, _, err := b.build(context.Background(), script("rm -f /layers/group.toml", "ln -s /gitd-credentials/config.json /layers/group.toml"), nil)
	apptest.WantError(t, err, app.CodeExportFailed)
	if strings.Contains(err.Error(), secretWord) {
		t.Error("the credentials are in the error")
	}
	b.noPods()
	// What would lead programs with credentials to somebody else: another run image, another proxy.
	proxy := map[string]string{}
	for _, n := range phase.Proxies {
		if !strings.EqualFold(n, "NO_PROXY") {
			proxy[n] = "http://127.0.0.1:9"
		}
	}
	_, log, err = b.build(context.Background(), script(
		"echo proxy: $https_proxy",
		"rm -f /layers/analyzed.toml",
		`printf '[run-image]\nreference = "registry.invalid/x:y"\n[image]\nreference = "registry.invalid/x:z"\n' > /layers/analyzed.toml`,
	), func(r *build.Request) { r.Env = proxy })
	if err != nil || !strings.Contains(log, "proxy: http://127.0.0.1:9") {
		t.Errorf("%v\n%s", err, log)
	}
	b.noPods()
}

// eachFile calls f for the files of an image until it returns false.
func eachFile(t *testing.T, images *registry.Remote, repository, digest string, f func(name string, h *tar.Header, r io.Reader) bool) {
	t.Helper()
	img, err := images.Image(repository, digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers[1:] { // the first is Debian's
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		in := tar.NewReader(r)
		for {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !f(strings.TrimPrefix(h.Name, "/"), h, in) {
				return
			}
		}
		r.Close()
	}
}

func fileInImage(t *testing.T, images *registry.Remote, repository, digest, name string) (content string) {
	eachFile(t, images, repository, digest, func(n string, h *tar.Header, r io.Reader) bool {
		if n != name {
			return true
		}
		if content = "-> " + h.Linkname; h.Typeflag == tar.TypeReg {
			b, _ := io.ReadAll(r)
			content = string(b)
		}
		return false
	})
	return content
}

func inImage(t *testing.T, images *registry.Remote, repository, digest, word string) (where string) {
	eachFile(t, images, repository, digest, func(n string, h *tar.Header, r io.Reader) bool {
		if n == "workspace/build.sh" || h.Size > 10<<20 {
			return true
		}
		if b, _ := io.ReadAll(r); bytes.Contains(b, []byte(word)) {
			where = n
		}
		return where == ""
	})
	return where
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
		b.options.Client = clientAs(t, is("somebody"))
		if _, err := cluster.New(context.Background(), b.options); err == nil {
			t.Error("an engine without any rights")
		} else {
			apptest.WantError(t, err, app.CodeUnavailable, "list the Pods of earlier builds", "somebody", "list pods")
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

// TestBuildLost: somebody else removes the Pod; a process that was killed leaves one.
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

// TestBuildVolume: the cache of an app is a volume.
func TestBuildVolume(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, func(o *cluster.Options) { o.StorageClass = "standard" })
	s := script("echo found: $(ls $BP_CACHE_MOUNT)", "echo beside: $(ls /gitd-cache)", "echo saved > $BP_CACHE_MOUNT/before")
	_, log := b.mustBuild(s)
	if strings.Contains(log, "found: before") {
		t.Error("a first build finds a cache")
	}
	b.noPods()
	_, log = b.mustBuild(s)
	if err := lacks(log, "before"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log, "beside: build\n") {
		t.Errorf("the build sees the lifecycle's own part of the volume:\n%s", log)
	}
	b.noPods()
	_, log, err := b.build(context.Background(), s, func(r *build.Request) { r.ClearCache = true })
	if err != nil || strings.Contains(log, "found: before") {
		t.Errorf("%v: the cache was not cleared:\n%s", err, log)
	}
	b.noPods()
	b.mustBuild(goApp("one"))
	b.noPods()
	b.mustBuild(goApp("two"))
	b.noPods()
	if err := b.engine.PurgeCache(context.Background(), b.app); err != nil {
		t.Fatal(err)
	}
	claims := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	eventually(t, time.Minute, func() error {
		left, err := b.client.Resource(claims, b.options.Namespace).List(context.Background(), metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = errors.New("the volume is left")
		}
		return err
	})
}

// TestBuildExamples builds apps with real dependencies, two at once.
func TestBuildExamples(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	var all sync.WaitGroup
	for _, language := range []string{"node", "python", "go", "static"} {
		all.Go(func() {
			l := &apptest.Buffer{}
			began := time.Now()
			r, err := b.engine.Build(context.Background(), build.Request{App: b.app + "-" + language, Version: 1, Source: folder("../../examples/" + language), Log: app.NewLog(l)})
			if err != nil {
				t.Errorf("%s: %v\n%s", language, err, l.String())
				return
			}
			t.Logf("%s in %.1f s: %+v\n%s", language, time.Since(began).Seconds(), r.Times, l.String())
		})
	}
	all.Wait()
	b.noPods()
}

// control stops or starts a part of the cluster.
func control(t *testing.T, verb, part string) {
	t.Helper()
	dir := os.Getenv("GITD_CLUSTER_DIR")
	if dir == "" {
		t.Fatal("GITD_CLUSTER_DIR is not set: make cluster prints it")
	}
	if out, err := exec.Command(filepath.Join(dir, "cluster"), verb, part).CombinedOutput(); err != nil {
		t.Errorf("cluster %s %s: %v\n%s", verb, part, err, out)
	}
}

// TestBuildFaults stops parts of the cluster while it builds.
func TestBuildFaults(t *testing.T) {
	if os.Getenv("GITD_CLUSTER_FAULTS") == "" {
		t.Skip("stops parts of the cluster: set GITD_CLUSTER_FAULTS=1 where nobody else uses it")
	}
	b := newBuilds(t, nil)
	under := func(s source) (*apptest.Buffer, chan error) {
		l := &apptest.Buffer{}
		ended := make(chan error, 1)
		b.version++
		r := build.Request{App: b.app, Version: b.version, Source: s, Log: app.NewLog(l), Limits: build.Limits{Time: 5 * time.Minute}}
		go func() {
			_, err := b.engine.Build(context.Background(), r)
			ended <- err
		}()
		eventually(t, 3*time.Minute, func() error { return lacks(l.String(), "       started\n") })
		return l, ended
	}
	t.Run("the API server restarts", func(t *testing.T) {
		l, ended := under(script("echo started", "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i.; sleep 0.5; done"))
		control(t, "stop", "apiserver")
		time.Sleep(2 * time.Second) // a restart takes a while
		control(t, "start", "apiserver")
		if err := <-ended; err != nil {
			t.Fatalf("%v\n%s", err, l.String())
		}
		for i := 1; i <= 60; i++ {
			if n := strings.Count(l.String(), fmt.Sprintf("       line %d.\n", i)); n != 1 {
				t.Errorf("line %d is there %d times", i, n)
			}
		}
		t.Logf("\n%s", l.String())
	})
	t.Run("the node is lost", func(t *testing.T) {
		_, ended := under(script("echo started", "sleep 1000"))
		began := time.Now()
		control(t, "stop", "node")
		defer control(t, "start", "node")
		err := <-ended
		t.Logf("told after %.0f s: %v", time.Since(began).Seconds(), err)
		apptest.WantError(t, err, app.CodeUnavailable, "the node ", " was lost during the build")
		b.noPods()
	})
	t.Run("it goes on", func(t *testing.T) { b.mustBuild(goApp("x")) })
}

// TestBuildNamedRegistry: a registry that speaks plain HTTP under a name, as one in the cluster does.
func TestBuildNamedRegistry(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	ctx := context.Background()
	host, port, err := net.SplitHostPort(b.options.Pull)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	p, name, ready := int32(number), "registry", true
	_, _, err = b.client.Apply(ctx, schema.GroupVersionResource{Version: "v1", Resource: "services"}, &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.options.Namespace},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: p, Protocol: corev1.ProtocolTCP}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	portName, protocol := "http", corev1.ProtocolTCP
	_, _, err = b.client.Apply(ctx, schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, &discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: b.options.Namespace, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{host}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &p, Protocol: &protocol}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.options.Push = fmt.Sprintf("%s.%s:%d", name, b.options.Namespace, p)
	b.restart()
	b.mustBuild(goApp("one"))
	b.noPods()
	tags, err := b.images.Tags(b.app + "/cache")
	if err != nil || tags["latest"] == "" {
		t.Errorf("no cache was written: %v, %v", tags, err)
	}
	second, _ := b.mustBuild(goApp("two"))
	if second.LayersReused == 0 {
		t.Errorf("%+v", second)
	}
	if _, _, err := b.build(ctx, goApp("three"), func(r *build.Request) { r.ClearCache = true }); err != nil {
		t.Error(err)
	}
	b.noPods()
}

// TestBuildRights: the rights that the engine needs are enough, and each one that is missing is named.
func TestBuildRights(t *testing.T) {
	t.Parallel()
	rules := []struct{ resource, verbs string }{
		{"pods", "list"}, {"pods", "create"}, {"pods", "get"}, {"pods", "watch"}, {"pods", "delete"}, {"pods/log", "get"}, {"pods/attach", "create get"}, // by WebSocket, or else by SPDY
	}
	try := func(t *testing.T, missing int) error {
		b := newBuilds(t, nil)
		user := "builder-" + b.app
		role := &rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"}, ObjectMeta: metav1.ObjectMeta{Name: "builds", Namespace: b.options.Namespace}}
		for i, r := range rules {
			if i != missing {
				role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{r.resource}, Verbs: strings.Fields(r.verbs)})
			}
		}
		binding := &rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: "builds", Namespace: b.options.Namespace},
			RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "builds"}, Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: user}}}
		group := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
		if _, _, err := b.client.Apply(context.Background(), group.WithResource("roles"), role); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.client.Apply(context.Background(), group.WithResource("rolebindings"), binding); err != nil {
			t.Fatal(err)
		}
		b.options.Client = clientAs(t, is(user))
		e, err := cluster.New(context.Background(), b.options)
		if err != nil {
			return err
		}
		defer e.Close()
		b.engine = e
		_, log, err := b.build(context.Background(), goApp("x"), func(r *build.Request) { r.Limits.Time = 2 * time.Minute })
		if err != nil {
			t.Log(log)
		}
		return err
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		if err := try(t, -1); err != nil {
			t.Error(err)
		}
	})
	for _, i := range []int{0, 1, 2, 5, 6} {
		t.Run("no "+rules[i].verbs+" "+rules[i].resource, func(t *testing.T) {
			t.Parallel()
			apptest.WantError(t, try(t, i), app.CodeUnavailable, strings.Fields(rules[i].verbs)[0]+" "+rules[i].resource)
		})
	}
}
