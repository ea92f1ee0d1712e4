package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/parts/partstest"
	"github.com/gitd-io/gitd/internal/reexec"
)

// probe is a layer with one static program: testdata/probe.
var probe string

func TestMain(m *testing.M) {
	reexec.Init()
	os.Exit(func() int {
		_, cleanup := partstest.BuildShim()
		defer cleanup()
		dir, err := os.MkdirTemp("", "gitd-probe-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		probe = filepath.Join(dir, "layer")
		c := exec.Command("go", "build", "-o", filepath.Join(probe, "probe"), "./testdata/probe")
		if built := os.Getenv("GITD_TEST_PROBE"); built != "" { // on a machine without Go
			c = exec.Command("install", "-D", built, filepath.Join(probe, "probe"))
		}
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			panic(string(out))
		}
		for _, d := range []string{dir, probe} {
			if err := os.Chmod(d, 0o755); err != nil {
				panic(err)
			}
		}
		return m.Run()
	}())
}

// ctx is a test's context with a generous deadline.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// openHost opens a Host on a directory of the test, and removes all of it at the end.
func openHost(t testing.TB) *Host {
	t.Helper()
	return openHostAt(t, t.TempDir())
}

func openHostAt(t testing.TB, dir string) *Host {
	t.Helper()
	h, err := Open(within(t, time.Minute), Options{Dir: dir, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		all, err := h.Containers(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, c := range all {
			if err := c.Remove(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// run runs the probe and returns its output.
func run(t testing.TB, h *Host, s Spec) (string, Exit) {
	t.Helper()
	var out bytes.Buffer
	s.Output = &out
	if s.ID == "" {
		s.ID = "run"
	}
	if s.Layers == nil {
		s.Layers = []string{probe}
	}
	e, err := h.Run(within(t, time.Minute), s)
	if err != nil {
		t.Fatalf("run %q: %v\n%s", s.Args, err, out.String())
	}
	return out.String(), e
}

// start starts the probe as a long-lived container.
func start(t testing.TB, h *Host, s Spec) *Container {
	t.Helper()
	if s.Layers == nil {
		s.Layers = []string{probe}
	}
	c, err := h.Start(within(t, time.Minute), s)
	if err != nil {
		t.Fatalf("start %q: %v", s.Args, err)
	}
	return c
}

func ended(t testing.TB, c *Container) Exit {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(time.Minute):
		t.Fatal("the container does not end")
	}
	return c.Exit()
}

// eventually polls until f returns nil.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// get asks a server in a container.
func get(ctx context.Context, c *Container, port int) (string, error) {
	conn, err := c.Dial(ctx, port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://app/", nil)
	req.Close = true
	if err := req.Write(conn); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(b), "\r\n\r\n")
	return body, err
}

func TestRun(t *testing.T) {
	h := openHost(t)
	out, e := run(t, h, Spec{Args: []string{"/probe", "say", "hello", "there"}})
	if out != "hello there\n" || e.Code != 0 || e.Signal != "" {
		t.Errorf("said %q, exit %+v", out, e)
	}
	if _, e = run(t, h, Spec{Args: []string{"/probe", "exit", "42"}}); e.Code != 42 {
		t.Errorf("exit %+v, want 42", e)
	}
}

func TestStart(t *testing.T) {
	h := openHost(t)
	log := filepath.Join(t.TempDir(), "log")
	c := start(t, h, Spec{ID: "web", Args: []string{"/probe", "serve", "127.0.0.1:8080", "hi"}, UID: 1000, GID: 1000, LogFile: log, Labels: map[string]string{"app": "x"}})
	eventually(t, func() error {
		s, err := get(within(t, time.Second), c, 8080)
		if err == nil && s != "hi" {
			err = fmt.Errorf("got %q", s)
		}
		return err
	})
	ports, err := c.Listening()
	if err != nil || fmt.Sprint(ports) != "[8080]" {
		t.Errorf("listening on %v, %v", ports, err)
	}
	if err := c.Stop(within(t, time.Minute), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if e := c.Exit(); e.Signal != "terminated" || e.Code != 143 || e.Told {
		t.Errorf("%+v", e)
	}
	if err := c.Remove(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(log)
	if ok, _ := regexp.Match(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ listening\n$`, b); err != nil || !ok {
		t.Errorf("log %q, %v", b, err)
	}
}
