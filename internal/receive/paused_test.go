package receive

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// slowly is everyone, but a deployment takes a while.
type slowly struct{ everyone }

func (slowly) Deploy(_ context.Context, p app.Push) (app.Result, error) {
	for i := range 60 { // not at once: a pause counts as one
		if time.Sleep(50 * time.Millisecond); i == 40 {
			fmt.Println("deploying")
		}
	}
	return app.Result{}, p.Accept()
}

const pausedDir = "GITD_TEST_PAUSED"

// A server that stood still for longer than a client may be silent, as by SIGSTOP or on a machine that slept, asks its clients again before it
// cuts them off: the push that was under way goes live.
func TestPausedServer(t *testing.T) {
	if dir := os.Getenv(pausedDir); dir != "" {
		o := crashOptions(dir)
		o.Handler, o.ssh.IdleTimeout, o.ssh.HandshakeTimeout = slowly{}, 1200*time.Millisecond, 500*time.Millisecond
		_, s, err := assemble(o)
		if err != nil {
			panic(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println(l.Addr())
		panic(s.Serve(l)) // until it is killed
	}
	fx := start(t, nil)
	dir := fx.Work("paused")
	repos := filepath.Join(t.TempDir(), "repos")
	server := exec.Command(os.Args[0], "-test.run=^TestPausedServer$")
	server.Env = append(os.Environ(), pausedDir+"="+repos)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	lines := bufio.NewReader(out)
	line := func() string {
		text, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(text)
	}
	push := fx.Cmd(dir, "git", "push", "ssh://git@"+line()+"/paused", "main")
	for i, kv := range push.Env {
		push.Env[i] = strings.Replace(kv, "StrictHostKeyChecking=yes", "StrictHostKeyChecking=no", 1)
	}
	var told bytes.Buffer
	push.Stdout, push.Stderr = &told, &told
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	if got := line(); got != "deploying" {
		t.Fatal(got)
	}
	_ = server.Process.Signal(syscall.SIGSTOP)
	time.Sleep(3 * time.Second)
	_ = server.Process.Signal(syscall.SIGCONT)
	if err := push.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &told)
	}
}
