package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/receive"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
)

// Environment of the process that serves: the folder of repositories, the indexer, and where to tell the address.
const (
	receiveDir     = "GITD_BENCH_RECEIVE"
	receiveIndexer = "GITD_BENCH_INDEXER"
)

// acceptAll is the rest of gitd for the receiver.
type acceptAll struct{}

func (acceptAll) Identify(context.Context, string) (app.Key, error) {
	return app.Key{Name: "bench", Admin: true}, nil
}
func (acceptAll) Authorize(_ context.Context, _ app.Key, name string, _ app.Verb) (app.App, error) {
	return app.App{ID: 1, Name: name}, nil
}
func (acceptAll) Confirm(context.Context, app.Key, string, int64, app.Verb) error { return nil }
func (acceptAll) Create(_ context.Context, _ app.Key, name string) (app.App, error) {
	return app.App{ID: 1, Name: name}, nil
}
func (acceptAll) WhileAbsent(_ context.Context, _ string, f func() error) error { return f() }
func (acceptAll) Loggable(args []string) string                                 { return strings.Join(args, " ") }
func (acceptAll) Asks([]string) app.Asked                                       { return app.Asked{} }
func (acceptAll) Deploy(_ context.Context, p app.Push) (app.Result, error) {
	return app.Result{}, p.Accept()
}
func (acceptAll) Redeploy(context.Context, app.Key, string, *app.Log) error           { return nil }
func (acceptAll) RemovePreview(context.Context, app.Key, string, int64, string) error { return nil }
func (acceptAll) Command(context.Context, app.Key, []string, io.Reader, io.Writer, io.Writer, *app.Client) int {
	return 0
}

// serveReceive is the process that serves, until it is asked to end.
func serveReceive(dir string) error {
	o := repository.Options{Dir: filepath.Join(dir, "repos"), Limits: repository.Limits{Pack: 4 << 30, Checkout: 8 << 30}, Indexer: repository.NewPackIndexer()}
	if os.Getenv(receiveIndexer) == "git" {
		o.Indexer = repository.NewGitIndexer()
	}
	repositories, err := repository.Open(o)
	if err != nil {
		return err
	}
	s, err := sshd.New(sshd.Options{HostKeyFile: filepath.Join(dir, "host_key"), Handler: acceptAll{}, Env: receive.Env(),
		Verbs: receive.Verbs(receive.Options{Repositories: repositories, Handler: acceptAll{}})})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(l.Addr().String()), 0o600); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		repositories.StopMaintenance()
		_ = s.Shutdown(context.Background())
	})
	return s.Serve(l)
}

// receiver is a server that takes pushes.
type receiver struct {
	name     string
	process  *process
	address  string
	login    string
	ssh      string // GIT_SSH_COMMAND
	options  []string
	url      func(repository string) string
	prepare  func(repository string) error // before the first push to a repository
	remove   func(repository string) error
	measured map[string]*cost
}

// cost are the measurements of one kind of push.
type cost struct{ wall, cpu, memory samples }

func (r *receiver) of(what string) *cost {
	if r.measured[what] == nil {
		r.measured[what] = &cost{}
	}
	return r.measured[what]
}

// receivers are the servers that are compared.
type receivers struct {
	ours, oursGit *receiver // gitd with its own indexer, and with git's
	fsck, plain   *receiver // sshd with git, with and without receive.fsckObjects
}

func (r *receivers) all() []*receiver { return []*receiver{r.ours, r.oursGit, r.fsck, r.plain} }

// login is how clients reach the servers: a key, and ssh's options.
type login struct {
	dir, key, ssh string
	options       []string
}

// startReceivers starts gitd with both indexers, and sshd, which serves repositories with and without receive.fsckObjects.
func (b *bench) startReceivers() (*receivers, error) {
	l := login{dir: filepath.Join(b.dir, "receive")}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	l.key = filepath.Join(l.dir, "key")
	if _, err := b.command("", nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", l.key); err != nil {
		return nil, err
	}
	l.options = sshOptions(l.key, filepath.Join(l.dir, "known_hosts"))
	l.ssh = "ssh " + strings.Join(l.options, " ")
	var r receivers
	for _, q := range []struct {
		to    **receiver
		start func() (*receiver, error)
	}{
		{&r.ours, func() (*receiver, error) { return b.gitdReceiver(l, "gitd") }},
		{&r.oursGit, func() (*receiver, error) { return b.gitdReceiver(l, "git") }},
		{&r.fsck, func() (*receiver, error) { return b.sshdReceiver(l, "sshd-fsck", "true") }},
		{&r.plain, func() (*receiver, error) { return b.sshdReceiver(l, "sshd-plain", "false") }},
	} {
		var err error
		if *q.to, err = q.start(); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

// gitdReceiver starts gitd's own receiver in a process of its own.
func (b *bench) gitdReceiver(l login, indexer string) (*receiver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	d := filepath.Join(l.dir, "gitd-"+indexer)
	if err := os.MkdirAll(d, 0o700); err != nil {
		return nil, err
	}
	p, err := start("gitd's receiver", []string{receiveDir + "=" + d, receiveIndexer + "=" + indexer}, nil, self)
	if err != nil {
		return nil, err
	}
	b.onExit(func() { p.stop(5 * time.Second) })
	r := &receiver{name: "gitd", process: p, ssh: l.ssh, options: l.options, login: "git", measured: map[string]*cost{}}
	err = p.wait(b.ctx, 20*time.Second, func() error {
		a, err := os.ReadFile(filepath.Join(d, "address"))
		r.address = string(a)
		return err
	})
	r.url = func(repository string) string { return "ssh://git@" + r.address + "/" + repository }
	r.prepare = func(string) error { return nil }
	r.remove = func(repository string) error { return os.RemoveAll(filepath.Join(d, "repos", repository+".git")) }
	return r, err
}

// sshdReceiver starts OpenSSH's sshd before a folder of bare repositories; check is their receive.fsckObjects.
func (b *bench) sshdReceiver(l login, name, check string) (*receiver, error) {
	d := filepath.Join(l.dir, name)
	address, user, p, err := b.startSSHD(d, l.key+".pub")
	if err != nil {
		return nil, err
	}
	path := func(repository string) string { return filepath.Join(d, repository+".git") }
	return &receiver{name: "OpenSSH + git", process: p, address: address, login: user, ssh: l.ssh, options: l.options, measured: map[string]*cost{},
		url:     func(repository string) string { return "ssh://" + user + "@" + address + path(repository) },
		prepare: func(repository string) error { return b.bareRepository(path(repository), check) },
		remove:  func(repository string) error { return os.RemoveAll(path(repository)) }}, nil
}

// bareRepository makes a repository that checks what gitd checks, where it is missing.
func (b *bench) bareRepository(path, check string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	dir := filepath.Dir(path)
	if _, err := b.command(dir, gitEnv, "git", "init", "-q", "--bare", "-b", "main", path); err != nil {
		return err
	}
	for k, v := range map[string]string{"receive.fsckObjects": check, "receive.autogc": "false", "gc.auto": "0",
		"fsck.badTimezone": "ignore", "receive.fsck.badTimezone": "ignore", "receive.fsck.missingSpaceBeforeDate": "ignore",
		"receive.fsck.zeroPaddedFilemode": "ignore"} { // what gitd lets pass, too
		if _, err := b.command(dir, gitEnv, "git", "--git-dir", path, "config", k, v); err != nil {
			return err
		}
	}
	return nil
}
