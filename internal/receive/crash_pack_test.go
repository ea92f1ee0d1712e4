package receive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
)

// TestCrash kills the server with SIGKILL at each step that a push takes on the disk: before each system call that changes
// something in the folder of repositories, or brings something to the disk. After a restart the ref is as it was or as it was
// asked for, git fsck is content, nothing is left behind, and the same push goes through.
//
// The server is a process of its own, which is traced like by strace(1), so that it needs no hooks. In the order of its steps,
// what a crash must not lose is also seen to be synced before anything refers to it.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("GITD_TEST_CRASH"); dir != "" {
		serveUntilKilled(dir)
	}
	work, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	git := func(stdin string, args ...string) string {
		c := exec.Command("git", args...)
		c.Dir, c.Stdin = work, strings.NewReader(stdin)
		c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		out, err := c.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return string(out)
	}
	commit := func(text string) string {
		if err := os.WriteFile(filepath.Join(work, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		git("", "add", "file")
		git("", "commit", "-q", "-m", "change")
		return strings.TrimSpace(git("", "rev-parse", "HEAD"))
	}
	git("", "init", "-q", "-b", "main")
	lines := strings.Repeat("a line, and more of it, so that a delta pays\n", 100)
	older := commit(lines)
	first := crashPush{old: repository.ZeroID, new: older, pack: git(older+"\n", "pack-objects", "--revs", "--stdout", "-q")}
	newer := commit(lines + "changed\n")
	second := crashPush{old: older, new: newer, pack: git(newer+"\n^"+older+"\n", "pack-objects", "--revs", "--thin", "--stdout", "-q")}

	outer, template := t, t.TempDir()
	for _, push := range []struct {
		name string
		crashPush
	}{{"first push", first}, {"thin push", second}} {
		t.Run(push.name, func(t *testing.T) {
			whole := copyOf(outer, template) // the next one begins with it
			steps := crashAt(t, whole, key, -1, push.crashPush)
			if got := afterCrash(t, whole, push.crashPush); got != push.new {
				t.Fatalf("without a crash the ref is %q", got)
			}
			if len(steps) < 20 {
				t.Fatalf("only %d steps: %q", len(steps), steps)
			}
			inOrder(t, steps)
			completed := slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, "truncate ") })
			if completed != (push.old != repository.ZeroID) {
				t.Errorf("a thin pack is completed: %v", completed)
			}
			moved := false
			for k := range steps {
				if k > 0 && steps[k] == steps[k-1] && strings.HasPrefix(steps[k], "write ") {
					continue
				}
				dir := copyOf(t, template)
				told := crashAt(t, dir, key, k, push.crashPush)
				at := "the start"
				if len(told) > 0 {
					at = told[len(told)-1]
				}
				got := afterCrash(t, dir, push.crashPush)
				if want := strings.TrimPrefix(push.old, repository.ZeroID); got != want && got != push.new {
					t.Errorf("killed before step %d, %s: the ref is %q", k, at, got)
				}
				moved = moved || got == push.new
				if t.Failed() {
					t.Fatalf("killed before step %d, %s", k, at)
				}
			}
			if !moved {
				t.Error("the ref was never seen to move")
			}
			t.Logf("%d steps", len(steps))
			template = whole
		})
	}
}

type crashPush struct{ old, new, pack string }

func copyOf(t *testing.T, template string) string {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// everyone lets each key push, and deploys nothing.
type everyone struct{}

func (everyone) Identify(context.Context, string) (app.Key, error) {
	return app.Key{Name: "k", Admin: true}, nil
}
func (everyone) Authorize(_ context.Context, _ app.Key, name string, _ app.Verb) (app.App, error) {
	return app.App{ID: 1, Name: name}, nil
}
func (everyone) Confirm(context.Context, app.Key, string, int64, app.Verb) error     { return nil }
func (everyone) Redeploy(context.Context, app.Key, string, *app.Log) error           { return nil }
func (everyone) RemovePreview(context.Context, app.Key, string, int64, string) error { return nil }
func (everyone) Create(_ context.Context, _ app.Key, name string) (app.App, error) {
	return app.App{ID: 1, Name: name}, nil
}
func (everyone) WhileAbsent(_ context.Context, _ string, f func() error) error { return f() }
func (everyone) Loggable([]string) string                                      { return "" }
func (everyone) Asks([]string) app.Asked                                       { return app.Asked{} }
func (everyone) Deploy(_ context.Context, p app.Push) (app.Result, error) {
	return app.Result{}, p.Accept()
}
func (everyone) Command(context.Context, app.Key, []string, io.Reader, io.Writer, io.Writer, *app.Client) int {
	return 0
}

func crashOptions(dir string) options {
	return options{
		ssh:     sshd.Options{HostKeyFile: filepath.Join(dir, "../host_key"), Handler: everyone{}},
		repo:    repository.Options{Dir: dir, Indexer: repository.NewPackIndexer(), Limits: repository.Limits{MinFree: 1}},
		Options: Options{Handler: everyone{}},
	}
}

// serveUntilKilled is the server. It tells its address, and ends when it is killed or its input does.
func serveUntilKilled(dir string) {
	_, s, err := assemble(crashOptions(dir))
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("serving %s\n", l.Addr())
	go func() { _ = s.Serve(l) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), gittest.Patience)
	defer cancel()
	_ = s.Shutdown(ctx)
	os.Exit(0)
}

// crashAt serves dir/repos, pushes to it, and kills the server before its step number k; -1 is never. It returns the steps that
// the server came to.
func crashAt(t *testing.T, dir, key string, k int, p crashPush) (steps []string) {
	t.Helper()
	dir = filepath.Join(dir, "repos")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	stdin, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	output, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	defer input.Close()
	traced := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it: tracing belongs to a thread
		c := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		c.Env = append(os.Environ(), "GITD_TEST_CRASH="+dir)
		c.Stdin, c.Stdout, c.Stderr = stdin, stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		err := c.Start()
		_ = stdin.Close()
		_ = stdout.Close()
		if err == nil {
			steps, err = trace(c.Process.Pid, dir, k)
		}
		traced <- err
	}()
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(output).ReadString('\n')
		address, _ := strings.CutPrefix(strings.TrimSpace(line), "serving ")
		report := p.send(address, key)
		_ = input.Close()
		answer <- report
	}()
	var report string
	for late := time.After(4 * gittest.Patience); traced != nil || answer != nil; { // tracing is slow
		select {
		case report = <-answer:
			answer = nil
		case err := <-traced:
			if err != nil {
				t.Fatal(err)
			}
			traced = nil
		case <-late:
			t.Fatalf("not seen within %v: the end of the server, or of the push", 4*gittest.Patience)
		}
	}
	if k < 0 && !strings.Contains(report, "ok refs/heads/main") {
		t.Fatalf("the push: %q", report)
	}
	return steps
}

// send pushes to a server, and returns what it answered, if it did.
func (p crashPush) send(address, key string) string {
	b, err := os.ReadFile(key)
	if err != nil {
		return err.Error()
	}
	signer, err := gossh.ParsePrivateKey(b)
	if err != nil {
		return err.Error()
	}
	client, err := gossh.Dial("tcp", address, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}, Timeout: gittest.Patience})
	if err != nil {
		return err.Error()
	}
	defer client.Close()
	ss, err := client.NewSession()
	if err != nil {
		return err.Error()
	}
	command := p.old + " " + p.new + " refs/heads/main\x00report-status"
	ss.Stdin = strings.NewReader(fmt.Sprintf("%04x%s0000%s", len(command)+4, command, p.pack))
	out, err := ss.Output("git-receive-pack 'crash'")
	return fmt.Sprint(string(out), err)
}

// afterCrash starts the server again, checks what it has, and pushes once more. It returns what the ref was before that.
func afterCrash(t *testing.T, dir string, p crashPush) string {
	t.Helper()
	o := crashOptions(filepath.Join(dir, "repos"))
	repositories, s, err := assemble(o)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repositories.Live(app.App{Name: "crash"})
	if err != nil {
		t.Fatal(err)
	}
	var stray []string
	err = filepath.WalkDir(o.repo.Dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(o.repo.Dir, path)
		if err == nil && !e.IsDir() && !kept.MatchString(rel) || strings.Contains(rel, "tmp") || strings.HasPrefix(rel, ".") && rel != "." {
			stray = append(stray, rel)
		}
		if pack, ok := strings.CutSuffix(path, ".pack"); ok {
			if _, e := os.Stat(pack + ".idx"); e != nil {
				stray = append(stray, rel)
			}
		}
		return err
	})
	if err != nil || len(stray) > 0 {
		t.Errorf("left behind: %q %v", stray, err)
	}
	if _, err := os.Stat(filepath.Join(o.repo.Dir, "crash.git")); !errors.Is(err, fs.ErrNotExist) {
		out, err := exec.Command("git", "--git-dir="+filepath.Join(o.repo.Dir, "crash.git"), "fsck", "--strict", "--full", "--no-dangling").CombinedOutput()
		if text := strings.TrimSpace(string(out)); err != nil || strings.Contains(text, "missing") || strings.Contains(text, "error") {
			t.Errorf("git fsck: %v %s", err, text)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	key := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	defer os.Remove(key)
	defer os.Remove(key + ".pub")
	retry := p
	retry.old = commit
	if commit == "" {
		retry.old = repository.ZeroID
	}
	if report := retry.send(l.Addr().String(), key); !strings.Contains(report, "ok refs/heads/main") {
		t.Errorf("pushed again: %q", report)
	}
	if live, err := repositories.Live(app.App{Name: "crash"}); err != nil || live != p.new {
		t.Errorf("pushed again, the ref is %q: %v", live, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), gittest.Patience)
	defer cancel()
	_ = s.Shutdown(ctx)
	if err := <-served; err != nil {
		t.Error(err)
	}
	return commit
}

// kept are the files that a repository may have.
var kept = regexp.MustCompile(`^crash\.git/(HEAD|config|refs/heads/main|objects/pack/pack-[0-9a-f]{40}\.(pack|idx))$`)

// syscallInfo is struct ptrace_syscall_info (ptrace(2)).
type syscallInfo struct {
	op     uint8
	_      [3]byte
	_      uint32
	_, _   uint64
	number uint64
	args   [6]uint64
	_      [2]uint64
}
