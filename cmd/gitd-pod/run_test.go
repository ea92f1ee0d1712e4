package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

const asProgram = "GITD_TEST_POD_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(attached())
	}
	os.Exit(m.Run())
}

// program is gitd-pod as a process, as gitd sees it.
type program struct {
	*stream.Conn
	cmd *exec.Cmd
	in  io.WriteCloser
}

func startProgram(t *testing.T, command stream.Command) *program {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), asProgram+"=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	p := &program{stream.New(out, in), c, in}
	if err := p.SendJSON(stream.Start, command); err != nil {
		t.Fatal(err)
	}
	return p
}

// drain receives until gitd-pod has ended.
func (p *program) drain() {
	for {
		if _, _, err := p.Receive(); err != nil {
			return
		}
	}
}

// until receives up to the end, at the pace of a client that is slow at times.
func (p *program) until(t *testing.T, pause func()) (out, errs string, e stream.Exit) {
	t.Helper()
	for {
		k, b, err := p.Receive()
		if err != nil {
			t.Fatalf("%d bytes, then: %v", len(out), err)
		}
		switch k {
		case stream.Stdout:
			out += string(b)
		case stream.Stderr:
			errs += string(b)
		case stream.End:
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatal(err)
			}
			return out, errs, e
		}
		pause()
		if err := p.SendJSON(stream.Room, len(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTail: of a command that ends while its output is under way nothing is lost, whatever the pace of its client. Each time.
func TestTail(t *testing.T) {
	for i := range 20 {
		c := stream.Command{Args: []string{"/bin/sh", "-c", "head -c 1000003 /dev/zero; printf last >&2; printf last; exit 6"}}
		if i%3 == 2 {
			c.Terminal = &stream.Window{Rows: 24, Columns: 80}
		}
		p := startProgram(t, c)
		out, errs, e := p.until(t, func() {
			if rand.N(8) == 0 {
				time.Sleep(rand.N(5 * time.Millisecond))
			}
		})
		if c.Terminal != nil {
			out, errs = strings.Replace(out, "lastlast", "last", 1), "last"
		}
		if len(out) != 1000003+4 || !strings.HasSuffix(out, "\x00last") || errs != "last" || e != (stream.Exit{Code: 6}) {
			t.Fatalf("%d: %d bytes, %q, %+v", i, len(out), errs, e)
		}
		if err := p.Send(stream.Bye, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 6 {
			t.Fatal(err)
		}
	}
}

// TestSignalBesideInput: a signal does not wait behind input that the command does not read, and no more is sent than there is room for.
func TestSignalBesideInput(t *testing.T) {
	p := startProgram(t, stream.Command{Args: []string{"/bin/sh", "-c", "trap 'echo told; exit 4' USR1; echo ready; while :; do sleep 0.01; done"}})
	if _, b, err := p.Receive(); err != nil || string(b) != "ready\n" {
		t.Fatalf("%q %v", b, err)
	}
	sent := make(chan error, 1)
	go func() { sent <- p.Copy(stream.Input, io.LimitReader(zeros{}, 10<<20)) }()
	time.Sleep(50 * time.Millisecond)
	if err := p.SendJSON(stream.Signal, 10); err != nil {
		t.Fatal(err)
	}
	if out, _, e := p.until(t, func() {}); out != "told\n" || e.Code != 4 {
		t.Errorf("%q %+v", out, e)
	}
	_ = p.in.Close()
	p.drain()
	if err := <-sent; err == nil {
		t.Error("10 MiB were sent to a command that reads nothing")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestGitdGone: a command is told when gitd is gone, and killed after the grace.
func TestGitdGone(t *testing.T) {
	for name, want := range map[string]struct {
		script string
		code   int
	}{
		"it ends by itself": {"trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", 7},
		"it is deaf":        {"trap '' TERM HUP; echo ready; while :; do sleep 0.01; done", 137},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProgram(t, stream.Command{Args: []string{"/bin/sh", "-c", want.script}, Grace: 100})
			if _, b, err := p.Receive(); err != nil || string(b) != "ready\n" {
				t.Fatalf("%q %v", b, err)
			}
			_ = p.in.Close()
			p.drain()
			_ = p.cmd.Wait()
			if code := p.cmd.ProcessState.ExitCode(); code != want.code {
				t.Errorf("status %d", code)
			}
		})
	}
}

func TestNoSuchProgram(t *testing.T) {
	p := startProgram(t, stream.Command{Args: []string{"/nope"}})
	if _, _, e := p.until(t, func() {}); e.Error == "" {
		t.Errorf("%+v", e)
	}
}
