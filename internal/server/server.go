// Package server puts the parts of gitd together on one data directory.
package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/domain"
	"github.com/gitd-io/gitd/internal/job"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/receive"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/sshd"
	"github.com/gitd-io/gitd/internal/store"
	gossh "golang.org/x/crypto/ssh"
)

// Server is gitd on one data directory: all of it but the listeners.
type Server struct {
	o            Options
	userCAs      []gossh.PublicKey
	lock         *os.File
	store        *store.Store
	rights       *eventRights
	config       *secret.Configurations
	runner       runner
	factory      engineFactory
	machine      *release.Machine
	jobs         *job.Manager
	ssh          *sshd.Server
	repositories *repository.Folder
	builds       *builds
	queue        *build.Queue
	services     *operation.Services
	domains      *domain.Manager
	dnsAddress   string          // where it answers the DNS
	stopping     context.Context // ends when the server begins to stop: commands that follow a log end
	stop         context.CancelFunc
	data         measured
	started      chan struct{} // closed when Start is done
	close        []func() error
}

// Open takes the data directory and adopts what runs on it: the apps' requests can be answered. Everything else needs Start. It returns an *app.Error
// where something that gitd needs is missing or taken.
func Open(ctx context.Context, o Options) (_ *Server, err error) {
	kind, err := o.chooseEngine()
	if err != nil {
		return nil, err
	}
	userCAs, err := readUserCAs(o.Config.SSH.UserCA)
	if err != nil {
		return nil, err
	}
	data := o.Config.Server.Data
	if err := prepare(data); err != nil {
		return nil, err
	}
	o.Log = safeLog(o.Log)
	s := &Server{o: o, userCAs: userCAs, started: make(chan struct{})}
	s.stopping, s.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lock(data); err != nil {
		return nil, err
	}
	s.onClose(s.lock.Close)
	s.adopt()
	if err := disk.RemoveTemporary(data); err != nil {
		o.Log("what a killed process was writing stays: %v", err)
	}
	if err := hasLedger(data); err != nil {
		return nil, err
	}
	if s.store, err = store.Open(s.path(databaseFile)); err != nil {
		return nil, err
	}
	s.store.Now = now
	s.store.AppsPerKey = o.Config.Limits.AppsPerKey
	s.onClose(s.store.Close)
	s.rights = &eventRights{store: s.store, log: o.Log}
	if err := s.rights.refresh(ctx); err != nil {
		return nil, err
	}
	s.config = secret.New(s.store, keyFile(data, o.Config.Server.SecretKey))
	if err := s.rememberPlatform(ctx); err != nil {
		return nil, err
	}
	if s.runner, err = runners[o.platform()](s, ctx); err != nil {
		return nil, err
	}
	s.onScrape()
	if err := s.openDomains(ctx); err != nil {
		return nil, err
	}
	s.factory = kind.factory(s)
	s.builds = &builds{ready: make(chan struct{})}
	return s, nil
}

// Start finishes what an earlier process left half done. From then on the server takes pushes and commands. It is called once.
func (s *Server) Start(ctx context.Context) (err error) {
	o := s.o
	s.repositories, err = repository.Open(repository.Options{Dir: s.path("repositories"), Limits: repository.Limits{MinFree: o.Config.Server.MinFree},
		Indexer: o.indexer(), ModulesFrom: o.Config.Git.SubmodulesFrom, Log: o.Log})
	if err != nil {
		return err
	}
	s.ssh, err = sshd.New(sshd.Options{
		HostKeyFile: s.path(hostKeyFile), Handler: (*front)(s), UserCAs: s.userCAs, KeyByName: s.store.KeyByName, Log: o.Log, Env: receive.Env(), Greeting: receive.Greeting,
		Verbs:   receive.Verbs(receive.Options{Repositories: s.repositories, Handler: (*front)(s), Began: s.builds.expect, Log: o.Log, Metrics: o.metrics().Releases, Tracer: o.Tracer}),
		Metrics: o.metrics().SSH,
	})
	if err != nil {
		return err
	}
	timings := ""
	if o.Timings {
		timings = s.path(timingsFile)
	}
	var triggers release.Triggers
	var sends job.Events
	if events := s.runner.events(); events != nil {
		triggers, sends = events, events
	}
	s.jobs = job.New(job.Options{Store: s.store, Platform: s.runner.platform(), LogDir: jobLogs(o.Config.Server.Data), Now: now, Log: o.Log, Events: sends, Metrics: o.metrics().Jobs, Tracer: o.Tracer})
	s.onClose(func() error { s.jobs.Close(); return nil })
	s.queue = build.NewQueue(o.places())
	s.machine = release.New(release.Options{
		Triggers: triggers, TakeRequests: s.runner.takeRequests, Metrics: o.metrics().Releases, Builds: o.metrics().Builds, Tracer: o.Tracer,
		Store: s.store, Jobs: s.jobs, Builder: s.builds, Queue: s.queue, Platform: s.runner.platform(), Config: s.config, Images: s.runner.images(), Shelf: s.runner.images(), RunImages: s.builds, LogDir: releaseLogs(s.o.Config.Server.Data),
		Timings: timings, Limits: o.buildLimits(), Caps: o.caps(), MinFree: o.Config.Server.MinFree, URL: s.runner.url, ImagesFrom: s.o.Config.Builds.ImagesFrom, PullDir: s.path(pullDir), LiveRef: s.repositories.Live, SetLive: s.repositories.SetLive, Remove: s.remove, Removed: func(ctx context.Context) { s.domains.Forgotten(ctx) }, Log: o.Log,
	})
	s.onClose(func() error { s.machine.Close(); return nil })
	if err := s.machine.Recover(ctx); err != nil {
		return err
	}
	if err := s.jobs.Recover(ctx); err != nil {
		return err
	}
	if events := s.runner.events(); events != nil {
		events.Start()
	}
	s.announce()
	s.answerDoor()
	s.services = &operation.Services{Jobs: s.jobs, Domains: s.domains, Authority: s.authority, Events: s.runner.events(), Store: s.store, Machine: s.machine, Platform: s.runner.platform(), Config: s.config, URL: s.runner.url, WebhookURL: s.runner.webhookURL, Warnings: s.runner.warnings, Destroy: s.destroy, LogDir: releaseLogs(s.o.Config.Server.Data),
		DeployKey: s.repositories.DeployKey, ForgetHosts: s.repositories.ForgetHosts, Database: s.path(databaseFile), Log: s.o.Log}
	s.watchRights()
	s.routeDomains(ctx)
	lost, err := s.config.Report(ctx)
	for _, line := range lost {
		o.Log("config: %s", line)
	}
	if err != nil {
		o.Log("config: %v", err)
	}
	close(s.started)
	return nil
}

// keyFile is the file with the key of the apps' configuration: the one that is set, or the data directory's.
func keyFile(data, set string) string { return cmp.Or(set, filepath.Join(data, secretFile)) }

func (s *Server) onClose(f func() error) { s.close = append(s.close, f) }

func (s *Server) path(parts ...string) string {
	return filepath.Join(append([]string{s.o.Config.Server.Data}, parts...)...)
}

// destroy removes an app with everything it has. After a failure it can be called again: the ledger goes last.
func (s *Server) destroy(ctx context.Context, by app.Caller, name string) error {
	if err := s.machine.Destroy(ctx, by, name); err != nil {
		return err
	}
	s.o.Metrics.Forget(name)
	if err := s.ssh.Recheck(ctx); err != nil { // at once: no watch needs to notice it first
		s.o.Log("rights: %v", err)
	}
	// A command may have put something there while the app was being destroyed: the next owner must not get it.
	return s.store.WhileAbsent(context.WithoutCancel(ctx), name, func() error { return s.repositories.Delete(name) })
}

// remove removes what an app or a preview has on the disk.
func (s *Server) remove(ctx context.Context, a app.App) error {
	var err error
	if a.Parent != "" {
		err = s.repositories.Of(a.Parent).DeleteBranch(a.Branch)
	} else {
		err = s.repositories.Delete(a.Name)
	}
	if err != nil {
		return err
	}
	if err := s.runner.images().DeleteRepository(a.Name); err != nil { // an app of the same name must not build on this one's layers
		return err
	}
	if err := s.jobs.Forget(a.Name); err != nil {
		return err
	}
	if err := s.domains.Forget(ctx, a.Name); err != nil { // the ledger forgets them with the app, and Removed comes then
		return err
	}
	s.o.Metrics.Forget(a.Name)
	return s.removeCache(ctx, a.Name)
}

// Run runs a command as root on this machine.
func (s *Server) Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, client *app.Client) int {
	return s.command(ctx, app.Caller{Local: true}, args, stdin, stdout, stderr, client)
}

func (s *Server) command(ctx context.Context, caller app.Caller, args []string, stdin io.Reader, stdout, stderr io.Writer, client *app.Client) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	return command.Run(ctx, s.services, caller, args, stdin, stdout, stderr, client)
}

// Close gives up the data directory, and ends commands. Instances of apps go on running, for the next process to adopt.
func (s *Server) Close() error {
	s.stop()
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	s.close = nil
	return errors.Join(errs...)
}
