package receive

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
)

// handler is the rest of gitd as these tests see it.
type handler struct {
	gittest.Keys
	gittest.Commands

	// mu guards the following.
	mu     sync.Mutex
	apps   map[string]bool
	pushes []*Push
	repos  *repository.Folder
	deploy func(ctx context.Context, p *Push) error
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
	if a.ID == 0 && verb == app.VerbRead {
		return a, app.NoApp(name)
	}
	return a, nil
}

func (h *handler) Confirm(ctx context.Context, k app.Key, name string, id int64, verb app.Verb) error {
	if err := h.Keys.Confirm(ctx, k, name, id, verb); err != nil || verb == app.VerbUse {
		return err
	}
	a, err := h.Authorize(ctx, k, name, verb)
	if err == nil && id != 0 && a.ID != id {
		err = app.Errorf(app.CodeNotFound, "see what there is", "the app %s was destroyed meanwhile", name)
	}
	return err
}

// remove forgets a key, and has that noticed.
func (fx *fixture) remove(name string) {
	fx.T.Helper()
	fx.h.Remove(name)
	if err := fx.s.Recheck(context.Background()); err != nil {
		fx.T.Error(err)
	}
}

func (h *handler) Create(_ context.Context, _ app.Key, name string) (app.App, error) {
	h.create(name)
	return app.App{ID: 1, Name: name}, nil
}

func (h *handler) WhileAbsent(_ context.Context, _ string, f func() error) error { return f() }

// Push is a push as a test sees it. Version is what its release is to be numbered.
type Push struct {
	app.Push
	Version int
}

func (h *handler) Deploy(ctx context.Context, pushed app.Push) (app.Result, error) {
	p := &Push{Push: pushed}
	h.mu.Lock()
	h.apps[p.App] = true
	h.pushes = append(h.pushes, p)
	f := h.deploy
	h.mu.Unlock()
	if f == nil {
		return app.Result{}, p.Accept()
	}
	err := f(ctx, p)
	return app.Result{Version: p.Version}, err
}

// Redeploy says so.
func (h *handler) Redeploy(_ context.Context, _ app.Key, name string, log *app.Log) error {
	log.Step("Redeploying %s", name)
	return nil
}

// RemovePreview deletes the branch.
func (h *handler) RemovePreview(_ context.Context, _ app.Key, name string, _ int64, branch string) error {
	return h.repos.Of(name).DeleteBranch(branch)
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

// fixture is a server with a user who has a key and a home.
type fixture struct {
	*gittest.User
	*gittest.Log
	dir   string // of the repositories
	repos *repository.Folder
	s     *sshd.Server
	h     *handler
}

// options are those of all rooms that a push goes through.
type options struct {
	ssh  sshd.Options
	repo repository.Options
	Options
}

// start starts a server. Change may set what is not to be as it is by default.
func start(t testing.TB, change func(*options)) *fixture {
	t.Helper()
	fx := &fixture{User: gittest.NewUser(t), Log: gittest.NewLog(t), h: &handler{apps: map[string]bool{}}}
	var o options
	o.repo = repository.Options{Dir: filepath.Join(fx.Home, "repos"), Limits: repository.Limits{MinFree: 1}, Log: fx.Printf}
	o.ssh = sshd.Options{HostKeyFile: filepath.Join(fx.Home, "server", "host_key"), Handler: fx.h, Log: fx.Printf}
	o.Options = Options{Handler: fx.h, Log: fx.Printf}
	if change != nil {
		change(&o)
	}
	fx.serve(o)
	return fx
}

// assemble puts the rooms together as the server does.
func assemble(o options) (*repository.Folder, *sshd.Server, error) {
	repositories, err := repository.Open(o.repo)
	if err != nil {
		return nil, nil, err
	}
	o.Repositories, o.IdleTimeout = repositories, o.ssh.IdleTimeout
	o.ssh.Verbs, o.ssh.Env, o.ssh.Greeting = Verbs(o.Options), Env(), Greeting
	s, err := sshd.New(o.ssh)
	return repositories, s, err
}

// serve starts the server.
func (fx *fixture) serve(o options) {
	fx.T.Helper()
	var err error
	fx.dir = o.repo.Dir
	if fx.repos, fx.s, err = assemble(o); err != nil {
		fx.T.Fatal(err)
	}
	fx.h.repos = fx.repos
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fx.T.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- fx.s.Serve(listener) }()
	fx.Key = fx.newKey("laptop", app.Key{Name: "laptop", Admin: true})
	fx.Trust(listener.Addr().String(), fx.Signer(o.ssh.HostKeyFile).PublicKey())
	fx.T.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		fx.repos.StopMaintenance()
		_ = fx.s.Shutdown(ctx)
		if err := <-served; err != nil {
			fx.T.Errorf("Serve: %v", err)
		}
	})
}

// newKey makes a key pair, and registers it when k has a name.
func (fx *fixture) newKey(file string, k app.Key) string {
	fx.T.Helper()
	path, public := fx.MakeKey(file)
	if k.Name != "" {
		fx.h.Register(public, k)
	}
	return path
}

func (fx *fixture) bare(name string) string { return filepath.Join(fx.dir, name+".git") }

// live checks what the server's ref says, and that its repository is sound.
func (fx *fixture) live(name, commit string) {
	fx.T.Helper()
	got, err := fx.repos.Live(app.App{Name: name})
	if err != nil || got != commit {
		fx.T.Errorf("live is %q (%v); it must be %q", got, err, commit)
	}
	fx.clean(name)
}

// clean checks that no push has left anything behind, and that the repository is sound.
func (fx *fixture) clean(name string) {
	fx.T.Helper()
	dir := fx.bare(name)
	if _, err := os.Stat(dir); err != nil {
		return
	}
	gittest.Eventually(fx.T, "the quarantine of "+name+" is gone", func() bool {
		for _, pattern := range []string{"objects/tmp_*", "objects/pack/tmp_*", "*.lock", "refs/heads/*.lock"} {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
				return false
			}
		}
		return true
	})
	if out, err := fx.Try("/", "--git-dir="+dir, "fsck", "--strict", "--connectivity-only"); err != nil {
		fx.T.Errorf("fsck of %s: %v\n%s", name, err, out)
	}
}
