package local

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/contract"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/parts/partstest"
	"github.com/gitd-io/gitd/internal/proxy/process"
	"github.com/gitd-io/gitd/internal/reexec"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

func init() {
	reexec.Register("test-serve", func(args []string) int { return serveUntilKilled(args[0]) })
}

func TestMain(m *testing.M) {
	reexec.Init()
	os.Exit(func() int {
		_, cleanup := partstest.BuildShim(parts.Proxy)
		defer cleanup()
		return m.Run()
	}())
}

// machine is what a platform stands on, in a folder of the test.
type machine struct {
	dir      string
	host     *sandbox.Host
	registry *registry.Registry
}

func openMachine(dir string, log func(string, ...any)) (*machine, error) {
	ctx := context.Background()
	h, err := sandbox.Open(ctx, sandbox.Options{Dir: filepath.Join(dir, "sandbox"), Log: log})
	if err != nil {
		return nil, err
	}
	r, err := registry.Open(ctx, filepath.Join(dir, "registry"))
	if err != nil {
		return nil, err
	}
	return &machine{dir, h, r}, nil
}

func (m *machine) platform(log func(string, ...any), change func(*Options)) (*Platform, error) {
	o := Options{Dir: filepath.Join(m.dir, "deploy"), Domain: "localhost", Host: m.host, Registry: m.registry,
		Layers: sandbox.OpenLayers(filepath.Join(m.dir, "layers")), Config: contract.Config, Log: log, ProxyInside: process.Inside(log), ScaleToZeroGrace: time.Millisecond, StopGrace: 2 * time.Second}
	if change != nil {
		change(&o)
	}
	return Open(context.Background(), o)
}

func (m *machine) close() {
	_ = m.registry.Close()
	_ = m.host.Close()
}

// newMachine returns a machine that leaves nothing behind.
func newMachine(t testing.TB) *machine {
	t.Helper()
	m, err := openMachine(t.TempDir(), apptest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		all, err := m.host.Containers(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, c := range all {
			if err := c.Remove(context.Background()); err != nil {
				t.Error(err)
			}
		}
		m.close()
	})
	return m
}

func (m *machine) open(t testing.TB, change func(*Options)) *Platform {
	t.Helper()
	p, err := m.platform(apptest.Logger(t), change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (m *machine) add(t testing.TB, repository string, img v1.Image) string {
	t.Helper()
	if err := m.registry.AddImage(t.Context(), repository, "latest", img); err != nil {
		t.Fatal(err)
	}
	return contract.Reference(t, repository, img)
}

// testServer is a listener, and the platform that serves it.
type testServer struct {
	address  string
	listener net.Listener
}

// use has another platform serve the listener, after the one before was closed.
func (f *testServer) use(t testing.TB, p *Platform) {
	t.Helper()
	if err := p.Serve(f.listener, nil); err != nil {
		t.Fatal(err)
	}
}

func serve(t testing.TB, p *Platform) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := &testServer{l.Addr().String(), l}
	f.use(t, p)
	return f
}

func TestContract(t *testing.T) {
	m := newMachine(t)
	asProcess := func(o *Options) { o.ProxyInside = nil }
	p := m.open(t, asProcess)
	f := serve(t, p)
	contract.Run(t, func(t *testing.T, img v1.Image) *contract.Env {
		return &contract.Env{Platform: p, Address: f.address, Domain: "localhost", Measures: true, Image: m.add(t, "testapp", img), Reopen: func() deploy.Platform {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			p = m.open(t, asProcess)
			f.use(t, p)
			return p
		}, User: func(service string) string {
			id := m.host.UID(0, service)
			return fmt.Sprintf("%d:%d", id, id)
		}, NoEdit: "on one machine the Services are gitd's own: they cannot be edited by others",
			Collect: func(ctx context.Context, service, revision string) error {
				return p.DeleteRevision(ctx, service, revision)
			}}
	})
}

func newService(name, image string, env ...string) *servingv1.Service {
	svc := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	svc.Spec.Template.Name = name + "-v1"
	c := corev1.Container{Image: image}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: k, Value: v})
	}
	svc.Spec.Template.Spec.Containers = []corev1.Container{c}
	return svc
}

func get(address, host, path string) (int, string, error) {
	q, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	q.Host = host
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}).Do(q)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func mustGet(t testing.TB, address, host, path string) string {
	t.Helper()
	code, body, err := get(address, host, path)
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s%s: %d %q, %v", host, path, code, body, err)
	}
	return body
}

// muchMemory keeps what else runs on the machine out of a test.
func muchMemory(o *Options) { o.MemoryLeft = func() int64 { return 1 << 50 } }

// serveUntilKilled is another process with a platform on dir. It prints the address that it serves on.
func serveUntilKilled(dir string) int {
	m, err := openMachine(dir, func(string, ...any) {})
	if err == nil {
		var p *Platform
		if p, err = m.platform(nil, muchMemory); err == nil {
			var image []byte
			if image, err = os.ReadFile(filepath.Join(dir, "image")); err == nil {
				err = p.Apply(context.Background(), newService("kept", string(image)))
			}
			if err == nil {
				err = p.WaitReady(context.Background(), "kept", "kept-v1")
			}
			if err == nil {
				err = prepareIdle(context.Background(), p, string(image))
			}
			if err == nil {
				var l net.Listener
				if l, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
					if err = p.Serve(l, nil); err == nil {
						fmt.Println(l.Addr())
						select {}
					}
				}
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// The process is killed, and the next one serves from the same instances.
func TestKill(t *testing.T) {
	m := newMachine(t)
	image := m.add(t, "testapp", contract.Image(t))
	if err := os.WriteFile(filepath.Join(m.dir, "image"), []byte(image), 0o600); err != nil {
		t.Fatal(err)
	}
	c := reexec.Command(t.Context(), "test-serve", m.dir)
	c.Env = append(c.Env, os.Environ()...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	before := mustGet(t, strings.TrimSpace(address), "kept.localhost", "/id")
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	began := time.Now()
	again, err := openMachine(m.dir, apptest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	p := again.open(t, muchMemory)
	f := serve(t, p)
	if after := mustGet(t, f.address, "kept.localhost", "/id"); after != before {
		t.Errorf("instance %s became %s", before, after)
	}
	t.Logf("answers %v after the restart began", time.Since(began))
	wantPrepared(t, p, 1, "again after the restart")
	if dirs := m.containersIn(t); len(dirs) != 2 {
		t.Errorf("containers of the instance and of the prepared one: %v", dirs)
	}
	mustGet(t, f.address, "idle.localhost", "/id")
	for _, name := range []string{"kept", "idle"} {
		if err := p.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if dirs := m.containersIn(t); len(dirs) != 0 {
		t.Errorf("left: %v", dirs)
	}
}

// An instance that crashes is replaced, and requests wait for the new one. One that does so again and again is not started
// without pause.
func TestCrash(t *testing.T) {
	m := newMachine(t)
	p := m.open(t, nil)
	f := serve(t, p)
	if err := p.Apply(t.Context(), newService("crash", m.add(t, "testapp", contract.Image(t)))); err != nil {
		t.Fatal(err)
	}
	first := mustGet(t, f.address, "crash.localhost", "/id")
	if code, _, err := get(f.address, "crash.localhost", "/crash"); code != http.StatusBadGateway {
		t.Errorf("the request that it crashed over: %d, %v", code, err)
	}
	apptest.Eventually(t, time.Minute, "another instance answers", func() bool {
		// While it ends, a connection that the kernel took for it may still break.
		code, id, err := get(f.address, "crash.localhost", "/id")
		return err == nil && code == http.StatusOK && id != first
	})
	var b bytes.Buffer
	apptest.Eventually(t, time.Minute, "the crash is in the log", func() bool {
		b.Reset()
		if err := p.Logs(t.Context(), "crash", deploy.LogOptions{}, &b); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(b.String(), "gitd: the instance exited with status 7")
	})
	if err := p.DeleteRevision(t.Context(), "crash", "crash-v1"); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("delete of a revision with traffic: %v", err)
	}
	if err := p.Delete(t.Context(), "crash"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, time.Minute, "the layers that nothing needs are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(m.dir, "layers", "[0-9a-f]*"))
		return err == nil && len(left) == 0
	})
	all, err := m.host.Containers(t.Context())
	if err != nil || len(all) > 0 {
		t.Errorf("%d containers are left, %v", len(all), err)
	}
	if _, err := os.Stat(p.logDir("crash", "")); !os.IsNotExist(err) {
		t.Errorf("the logs are left: %v", err)
	}
}

// Requests for a revision that does not start end with 503 once it is clear.
func TestFailingRevisionAnswers503(t *testing.T) {
	m := newMachine(t)
	p := m.open(t, nil)
	f := serve(t, p)
	if err := p.Apply(t.Context(), newService("failing", m.add(t, "testapp", contract.Image(t)), "MODE=exit")); err != nil {
		t.Fatal(err)
	}
	if code, body, err := get(f.address, "failing.localhost", "/"); code != http.StatusServiceUnavailable || !strings.Contains(body, "does not start") {
		t.Errorf("%d %q, %v", code, body, err)
	}
}

// More load brings more instances, within the bounds.
func TestScaleUp(t *testing.T) {
	m := newMachine(t)
	p := m.open(t, nil)
	f := serve(t, p)
	svc := newService("scale", m.add(t, "testapp", contract.Image(t)))
	one := int64(1)
	svc.Spec.Template.Spec.ContainerConcurrency = &one
	svc.Spec.Template.Annotations = map[string]string{"autoscaling.knative.dev/window": "6s", "autoscaling.knative.dev/max-scale": "3",
		"autoscaling.knative.dev/min-scale": "1"}
	if err := p.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	instances := func() int {
		d, err := p.Describe(t.Context(), "scale")
		if err != nil {
			t.Fatal(err)
		}
		return d[0].Instances
	}
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	var failed atomic.Int64
	for range 8 {
		wait.Go(func() {
			for ctx.Err() == nil {
				if code, _, _ := get(f.address, "scale.localhost", "/sleep?ms=50"); code != 200 {
					failed.Add(1)
				}
			}
		})
	}
	apptest.Eventually(t, time.Minute, "three instances", func() bool { return instances() == 3 })
	cancel()
	wait.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d requests failed", failed.Load())
	}
	apptest.Eventually(t, time.Minute, "one instance", func() bool { return instances() == 1 })
}
