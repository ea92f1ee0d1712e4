package receive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// handler is the rest of gitd as these tests see it.
type handler struct {
	mu      sync.Mutex
	keys    map[string]app.Key // by fingerprint
	apps    map[string]bool
	pushes  []*Push
	deploy  func(ctx context.Context, p *Push) error
	command func(ctx context.Context, key app.Key, args []string, in io.Reader, out, errw io.Writer) int
}

func (h *handler) Identify(_ context.Context, fingerprint string) (app.Key, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k, ok := h.keys[fingerprint]; ok {
		return k, nil
	}
	return app.Key{}, app.Errorf(app.CodeNotFound, "gitd keys add NAME", "no key with fingerprint %s", fingerprint)
}

func (h *handler) Authorize(_ context.Context, k app.Key, name string, verb app.Verb) (app.App, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := app.App{Name: name}
	if h.apps[name] {
		a.ID = 1
	}
	if len(k.Apps) > 0 && !slices.ContainsFunc(k.Apps, func(s app.Scope) bool { return s.Name == name }) {
		return a, app.Errorf(app.CodeForbidden, "ask the operator for the right", "the key %s may not %s %s", k.Name, verb, name)
	}
	return a, nil
}

func (h *handler) Confirm(ctx context.Context, k app.Key, name string, id int64, verb app.Verb) error {
	h.mu.Lock()
	now, ok := h.keys[k.Fingerprint]
	h.mu.Unlock()
	if !ok || !now.Same(k) {
		return app.Errorf(app.CodeForbidden, "ask the operator", "the key %s was removed", k.Name)
	}
	if verb == app.VerbUse {
		return nil
	}
	a, err := h.Authorize(ctx, k, name, verb)
	if err == nil && id != 0 && a.ID != id {
		err = app.Errorf(app.CodeNotFound, "see what there is", "the app %s was destroyed meanwhile", name)
	}
	return err
}

// remove forgets a key, and has that noticed.
func (fx *fixture) remove(name string) {
	fx.t.Helper()
	fx.h.mu.Lock()
	for f, k := range fx.h.keys {
		if k.Name == name {
			delete(fx.h.keys, f)
		}
	}
	fx.h.mu.Unlock()
	if err := fx.s.Recheck(context.Background()); err != nil {
		fx.t.Error(err)
	}
}

func (h *handler) Create(_ context.Context, _ app.Key, name string) (app.App, error) {
	h.create(name)
	return app.App{ID: 1, Name: name}, nil
}

func (h *handler) WhileAbsent(_ context.Context, _ string, f func() error) error { return f() }

func (h *handler) ReadsInput(args []string) bool { return args[0] == "cat" || args[0] == "echo" }

func (h *handler) Deploy(ctx context.Context, p *Push) error {
	h.mu.Lock()
	h.apps[p.App] = true
	h.pushes = append(h.pushes, p)
	f := h.deploy
	h.mu.Unlock()
	if f != nil {
		return f(ctx, p)
	}
	return p.Accept()
}

func (h *handler) setDeploy(f func(ctx context.Context, p *Push) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deploy = f
}

// create makes apps that were not pushed yet.
func (h *handler) create(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range names {
		h.apps[n] = true
	}
}

func (h *handler) last() *Push {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pushes) == 0 {
		return nil
	}
	return h.pushes[len(h.pushes)-1]
}

func (h *handler) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pushes)
}

func (h *handler) Command(ctx context.Context, k app.Key, args []string, in io.Reader, out, errw io.Writer) int {
	h.mu.Lock()
	f := h.command
	h.mu.Unlock()
	if f != nil {
		return f(ctx, k, args, in, out, errw)
	}
	fmt.Fprintf(errw, "unknown command %q\n", args[0])
	return 127
}

// fixture is a server with a user who has a key and a home.
type fixture struct {
	t       testing.TB
	s       *Server
	h       *handler
	addr    string
	home    string
	tmp     string // of clients; short, for git-lfs puts sockets there (and leaves their folders)
	key     string // path of the user's private key
	hostKey gossh.PublicKey

	mu  sync.Mutex
	log []string
}

func start(t testing.TB, change func(*Options)) *fixture {
	t.Helper()
	fx := &fixture{t: t, home: t.TempDir(), h: &handler{keys: map[string]app.Key{}, apps: map[string]bool{}}}
	var err error
	if fx.tmp, err = os.MkdirTemp("", "clients-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(fx.tmp) })
	o := Options{Dir: filepath.Join(fx.home, "repos"), HostKeyFile: filepath.Join(fx.home, "server", "host_key"), Handler: fx.h, MinFree: 1,
		Log: func(format string, args ...any) {
			fx.mu.Lock()
			defer fx.mu.Unlock()
			fx.log = append(fx.log, fmt.Sprintf(format, args...))
		}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	fx.s = s
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fx.addr = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	fx.key = fx.newKey("laptop", app.Key{Name: "laptop", Admin: true})
	signer, err := hostKey(o.HostKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	fx.hostKey = signer.PublicKey()
	host, port, _ := net.SplitHostPort(fx.addr)
	fx.write("known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, gossh.MarshalAuthorizedKey(fx.hostKey)))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if t.Failed() {
			fx.mu.Lock()
			defer fx.mu.Unlock()
			t.Logf("server's log:\n%s", strings.Join(fx.log, "\n"))
		}
	})
	return fx
}

func (fx *fixture) write(name, text string) string {
	p := filepath.Join(fx.home, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		fx.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		fx.t.Fatal(err)
	}
	return p
}

// newKey makes a key pair, and registers it when k has a name.
func (fx *fixture) newKey(file string, k app.Key) string {
	fx.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fx.t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		fx.t.Fatal(err)
	}
	pub, err := gossh.NewPublicKey(public)
	if err != nil {
		fx.t.Fatal(err)
	}
	if k.Name != "" {
		k.Fingerprint = gossh.FingerprintSHA256(pub)
		fx.h.mu.Lock()
		fx.h.keys[k.Fingerprint] = k
		fx.h.mu.Unlock()
	}
	fx.write(file+".pub", string(gossh.MarshalAuthorizedKey(pub)))
	return fx.write(file, string(pem.EncodeToMemory(block)))
}

func (fx *fixture) signer(path string) gossh.Signer {
	fx.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		fx.t.Fatal(err)
	}
	s, err := gossh.ParsePrivateKey(b)
	if err != nil {
		fx.t.Fatal(err)
	}
	return s
}

func (fx *fixture) sshArgs(key string) []string {
	return []string{"-F", "/dev/null", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + filepath.Join(fx.home, "known_hosts")}
}

func (fx *fixture) env(key string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + fx.home, "TMPDIR=" + fx.tmp, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main", "GIT_CONFIG_KEY_1=protocol.file.allow", "GIT_CONFIG_VALUE_1=always",
		"GIT_SSH_COMMAND=ssh " + strings.Join(fx.sshArgs(key), " ")}
}

func (fx *fixture) url(name string) string { return "ssh://git@" + fx.addr + "/" + name }

// cmd prepares a command of the user, in its own process group.
func (fx *fixture) cmd(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, fx.env(fx.key)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// try runs git and returns all of its output.
func (fx *fixture) try(dir string, args ...string) (string, error) {
	b, err := fx.cmd(dir, "git", args...).CombinedOutput()
	return string(b), err
}

// git runs git, which must succeed.
func (fx *fixture) git(dir string, args ...string) string {
	fx.t.Helper()
	out, err := fx.try(dir, args...)
	if err != nil {
		fx.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// rejected runs git, which must fail and say all of the words.
func (fx *fixture) rejected(dir string, words []string, args ...string) string {
	fx.t.Helper()
	out, err := fx.try(dir, args...)
	if err == nil {
		fx.t.Fatalf("git %s went well\n%s", strings.Join(args, " "), out)
	}
	mustHold(fx.t, out, words...)
	return out
}

func mustHold(t testing.TB, out string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
}

// work makes a repository with one commit, and the remote "platform".
func (fx *fixture) work(name string) string {
	fx.t.Helper()
	dir := filepath.Join(fx.t.TempDir(), name)
	fx.git("/", "init", "-q", dir)
	fx.git(dir, "remote", "add", "platform", fx.url(name))
	fx.commit(dir, "hello.txt", "hello\n")
	return dir
}

func (fx *fixture) commit(dir, file, text string) string {
	fx.t.Helper()
	p := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		fx.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		fx.t.Fatal(err)
	}
	fx.git(dir, "add", "-A")
	fx.git(dir, "commit", "-qm", "change "+file)
	return fx.git(dir, "rev-parse", "HEAD")
}

// ssh runs ssh and returns its output, errors and exit status.
func (fx *fixture) ssh(key string, stdin string, args ...string) (stdout, stderr string, status int) {
	fx.t.Helper()
	host, port, _ := net.SplitHostPort(fx.addr)
	c := fx.cmd(fx.home, "ssh", append(append(fx.sshArgs(key), "-p", port, "git@"+host), args...)...)
	var o, e bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &o, &e
	if err := c.Run(); err != nil {
		var x *exec.ExitError
		if !errors.As(err, &x) {
			fx.t.Fatal(err)
		}
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

func (fx *fixture) bare(name string) string { return filepath.Join(fx.s.opts.Dir, name+".git") }

// live checks what the server's ref says, and that its repository is sound.
func (fx *fixture) live(name, commit string) {
	fx.t.Helper()
	got, err := fx.s.Live(name)
	if err != nil || got != commit {
		fx.t.Errorf("live is %q (%v); it must be %q", got, err, commit)
	}
	fx.clean(name)
}

// clean checks that no push has left anything behind, and that the repository is sound.
func (fx *fixture) clean(name string) {
	fx.t.Helper()
	dir := fx.bare(name)
	if _, err := os.Stat(dir); err != nil {
		return
	}
	eventually(fx.t, "the quarantine of "+name+" is gone", func() bool {
		for _, pattern := range []string{"objects/tmp_*", "objects/pack/tmp_*", "*.lock", "refs/heads/*.lock"} {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
				return false
			}
		}
		return true
	})
	if out, err := fx.try("/", "--git-dir="+dir, "fsck", "--strict", "--connectivity-only"); err != nil {
		fx.t.Errorf("fsck of %s: %v\n%s", name, err, out)
	}
}

const patience = 30 * time.Second

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not seen within %v: %s", patience, what)
}

func receiveOr[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("not seen within %v: %s", patience, what)
	}
	return v
}

// logged waits for a line of the server's log that holds all of the words.
func (fx *fixture) logged(words ...string) {
	fx.t.Helper()
	eventually(fx.t, fmt.Sprintf("a line of the log with %q", words), func() bool {
		fx.mu.Lock()
		defer fx.mu.Unlock()
		return slices.ContainsFunc(fx.log, func(line string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
		})
	})
}

// children returns the command lines of the git processes that work in dir.
func children(dir string) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, p := range all {
		cwd, err := os.Readlink(p)
		if err == nil && strings.HasPrefix(cwd, dir) {
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
			if len(b) > 0 { // a zombie has none
				found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
			}
		}
	}
	return found
}
