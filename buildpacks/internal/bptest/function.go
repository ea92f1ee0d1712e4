package bptest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Served is a process that was built and runs.
type Served struct {
	URL string
	Dir string // in which it runs
	t   testing.TB
	cmd *exec.Cmd
	out output
	end chan struct{}
}

// output is what a process has written so far.
type output struct {
	mu sync.Mutex
	// mu guards the following.
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns all of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start starts the web process of a build as the launcher would, with the environment of its layers and PORT. It is stopped when the test ends.
func Start(t testing.TB, r *Run, b Built) *Served {
	t.Helper()
	web, port := b.Processes["web"], Port(t)
	s := &Served{URL: "http://127.0.0.1:" + port, Dir: r.App, t: t, end: make(chan struct{})}
	s.cmd = &exec.Cmd{Path: web.Command, Args: append([]string{web.Command}, web.Arguments...), Env: append(r.LaunchEnv(), "PORT="+port), Dir: cmp.Or(web.WorkingDirectory, r.App), Stdout: &s.out, Stderr: &s.out, WaitDelay: time.Second}
	for _, kv := range s.cmd.Env {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok || strings.Contains(web.Command, "/") {
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			if fi, err := os.Stat(filepath.Join(dir, web.Command)); err == nil && fi.Mode()&0o111 != 0 {
				s.cmd.Path = filepath.Join(dir, web.Command)
				break
			}
		}
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.end) }()
	t.Cleanup(s.Stop)
	return s
}

// Command is how the process was started.
func (s *Served) Command() *exec.Cmd { return s.cmd }

// Function builds a function; out is what its buildpack writes. What it returns serves it, with other text in one of its files: a build of that would take over
// the layers. With no text it builds the same once more instead, whose layers stay in the registry.
func Function(t testing.TB, r *Run, b libcnb.Builder, out fmt.Stringer, files map[string]string, file string) (serve func(text string) *Served) {
	t.Helper()
	built, err := r.Build(b, files)
	if err != nil {
		t.Fatalf("%s\n%s", kit.Line(err), out)
	}
	return func(text string) *Served {
		t.Helper()
		if text == "" {
			if _, err := r.Build(b, files); err != nil || !r.Reused("function") {
				t.Errorf("the layer of the function is made again: %v\n%s", err, out)
			}
			return nil
		}
		if err := os.RemoveAll(filepath.Join(r.App, filepath.Dir(file), "__pycache__")); err != nil { // of Python: it counts more than the source
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.App, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return Start(t, r, built)
	}
}

// FindBare checks whether an app with a file that is a function by its name is one. With settings in project.toml it is. find tells what a buildpack finds.
func FindBare(t *testing.T, app, file string, want bool, find func(app string, env kit.Env) (found bool, err error)) {
	t.Helper()
	if found, err := find(app, kit.Env{}); err != nil || found != want {
		t.Errorf("%v %v, want %v", found, err, want)
	}
	if found, err := find(app, kit.Env{catalog.FunctionVariable: `{"source":"` + file + `","target":"handler"}`}); err != nil || !found {
		t.Errorf("with settings: %v %v", found, err)
	}
}

// Stop ends the process, and what it has started.
func (s *Served) Stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.end
}

// Ended waits for a process that is to end by itself, and returns what it has written.
func (s *Served) Ended() string {
	s.t.Helper()
	select {
	case <-s.end:
	case <-time.After(time.Minute):
		s.t.Errorf("the process does not end")
		s.Stop()
	}
	return s.out.String()
}

// Output is what the process has written so far.
func (s *Served) Output() string { return s.out.String() }

// Wrote waits until the process has written a text, which may reach us after its answer does.
func (s *Served) Wrote(text string) bool {
	for deadline := time.Now().Add(time.Minute); !strings.Contains(s.Output(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Ready waits until the process listens.
func (s *Served) Ready() *Served {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get(s.URL + "/robots.txt")
		if err == nil {
			resp.Body.Close()
			return s
		}
		select {
		case <-s.end:
			s.t.Fatalf("the app ended: %s", s.out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the app does not listen: %v\n%s", err, s.out.String())
		}
	}
}

// Do sends a request and returns its answer. Headers are written "name: value".
func (s *Served) Do(method, path, body string, header ...string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// LambdaProgram compiles gitd-lambda.
func LambdaProgram(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gitd-lambda")
	_, here, _, _ := runtime.Caller(0)
	compile := exec.Command("go", "build", "-o", program, "github.com/gitd-io/gitd/cmd/gitd-lambda")
	compile.Dir = filepath.Dir(here)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}
