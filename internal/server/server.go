// Package server puts the parts of gitd together on one data directory.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/deploy/local"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/receive"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/sandbox"
	"github.com/gitd-io/gitd/internal/store"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// Options configure a Server.
type Options struct {
	Data        string // the data directory
	Domain      string // apps answer under APP.Domain
	Builder     string // builder image: "" for our own, "oci:DIR" or a registry reference
	Limits      build.Limits
	Caps        release.Caps      // on what apps may ask for
	AppsPerKey  int               // how many apps a key that is no admin may own; 0 for no bound
	Builds      int               // at a time; 0: as many as the machine has place for, or 32 on a cluster
	MinFree     int64             // bytes of free disk below which pushes are refused
	Timings     bool              // note the parts of each release in timings.jsonl
	HTTPPort    int               // port in the apps' URLs; 0 or 80 for none
	UserCAs     []gossh.PublicKey // may sign certificates of users
	ModulesFrom []netip.Prefix    // see receive.Options
	Indexer     receive.Indexer   // nil: our own
	UIDs        sandbox.UIDs      // of this machine, one for each app; sandbox.DefaultUIDs
	Cluster     *Cluster          // nil: builds and apps run on this machine
	Log         func(format string, args ...any)

	// TrustedProxies are networks of peers whose word on a request's client is believed.
	TrustedProxies []netip.Prefix
	// HTTPConnections is how many connections clients may have, and requests under way; 0 for what Files and the machine's memory allow.
	HTTPConnections int
	// HTTPPerAddress is the same for one IPv4 address or IPv6 /64; 0 for a quarter of all.
	HTTPPerAddress int
	// Files is how many descriptors this process may have.
	Files int
}

// Server is gitd on one data directory: all of it but the listeners.
type Server struct {
	o        Options
	lock     *os.File
	store    *store.Store
	site     *site
	machine  *release.Machine
	receive  *receive.Server
	builds   *builds
	services *command.Services
	stopping context.Context // ends when the server begins to stop: whoever follows a log is let go
	stop     context.CancelFunc
	close    []func() error
}

// Open takes the data directory and adopts what runs on it: the apps' requests can be answered. Everything else needs Start. It returns an *app.Error
// where something that gitd needs is missing or taken.
func Open(ctx context.Context, o Options) (_ *Server, err error) {
	if err := prepare(o.Data); err != nil {
		return nil, err
	}
	o.Log = safeLog(o.Log)
	s := &Server{o: o}
	s.stopping, s.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lock(o.Data); err != nil {
		return nil, err
	}
	s.onClose(s.lock.Close)
	if err := disk.RemoveTemporary(o.Data); err != nil {
		o.Log("what a killed process was writing stays: %v", err)
	}
	if err := hasLedger(o.Data); err != nil {
		return nil, err
	}
	if s.store, err = store.Open(s.path(databaseFile)); err != nil {
		return nil, err
	}
	s.store.AppsPerKey = o.AppsPerKey
	s.onClose(s.store.Close)
	if err := s.rememberPlatform(ctx); err != nil {
		return nil, err
	}
	if o.Cluster != nil {
		s.site, err = s.openCluster(ctx)
	} else {
		s.site, err = s.openMachine(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.builds = &builds{ready: make(chan struct{})}
	return s, nil
}

// Start finishes what an earlier process left half done. From then on the server takes pushes and commands. It is called once.
func (s *Server) Start(ctx context.Context) (err error) {
	o := s.o
	s.receive, err = receive.New(receive.Options{
		Dir: s.path("repositories"), HostKeyFile: s.path(hostKeyFile), Handler: (*front)(s), MinFree: o.MinFree, Log: o.Log,
		UserCAs: o.UserCAs, KeyByName: s.store.KeyByName, Indexer: o.Indexer, ModulesFrom: o.ModulesFrom,
	})
	if err != nil {
		return err
	}
	timings := ""
	if o.Timings {
		timings = s.path(timingsFile)
	}
	s.machine = release.New(release.Options{
		Store: s.store, Builder: s.builds, Queue: build.NewQueue(o.places()), Platform: s.site.platform, Images: s.site.images, LogDir: s.path("logs", "releases"),
		Timings: timings, Limits: o.Limits, Caps: o.Caps, MinFree: o.MinFree, URL: s.url, LiveRef: s.receive.Live, SetLive: s.receive.SetLive, Log: o.Log,
	})
	s.onClose(func() error { s.machine.Close(); return nil })
	if err := s.machine.Recover(ctx); err != nil {
		return err
	}
	s.services = &command.Services{Store: s.store, Machine: s.machine, Platform: s.site.platform, URL: s.url, Destroy: s.destroy,
		DeployKey: s.receive.DeployKey, ForgetHosts: s.receive.ForgetHosts, Database: s.path(databaseFile), Log: s.o.Log}
	s.watchRights()
	return nil
}

// places is how many builds run at a time.
func (o *Options) places() int {
	const onCluster = 32 // its scheduler decides on the rest; what gitd itself does for a build is small
	var m unix.Sysinfo_t
	switch {
	case o.Builds > 0:
		return o.Builds
	case o.Cluster != nil:
		return onCluster
	case unix.Sysinfo(&m) != nil:
		return 1
	}
	return build.Places(runtime.NumCPU(), int64(m.Totalram)*int64(m.Unit), o.Limits)
}

func (s *Server) onClose(f func() error) { s.close = append(s.close, f) }

func (s *Server) path(parts ...string) string {
	return filepath.Join(append([]string{s.o.Data}, parts...)...)
}

func (s *Server) url(name string) string { return s.site.url(name) }

// PrepareBuilds makes or loads the builder image. Until it is done, pushes wait.
func (s *Server) PrepareBuilds(ctx context.Context, log *app.Log) error {
	e, err := s.site.prepare(ctx, log)
	if err != nil {
		return err
	}
	s.builds.engine = e
	s.onClose(e.Close)
	close(s.builds.ready)
	return nil
}

// builds is the engine, once there is one.
type builds struct {
	ready  chan struct{}
	engine engine
}

// Build implements build.Builder.
func (b *builds) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	select {
	case <-b.ready:
	default:
		r.Log.Step("Waiting for the builder image")
		select {
		case <-b.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return b.engine.Build(ctx, r)
}

// destroy removes an app with everything it has. What fails half-way can be done again: the ledger goes last.
func (s *Server) destroy(ctx context.Context, by app.Caller, name string) error {
	err := s.machine.Destroy(ctx, by, name, func(ctx context.Context) error {
		if err := s.receive.DeleteRepository(name); err != nil {
			return err
		}
		if err := s.site.images.DeleteRepository(name); err != nil { // an app of the same name must not build on this one's layers
			return err
		}
		select {
		case <-s.builds.ready:
			return s.builds.engine.PurgeCache(ctx, name)
		default: // nothing is built yet
			return s.site.removeCache(ctx, name)
		}
	})
	if err != nil {
		return err
	}
	if err := s.receive.Recheck(ctx); err != nil { // at once: no watch needs to notice it first
		s.o.Log("rights: %v", err)
	}
	// What a command put there while the app was being destroyed is not the next owner's.
	return s.store.WhileAbsent(context.WithoutCancel(ctx), name, func() error { return s.receive.DeleteRepository(name) })
}

// Run runs a command as root on this machine.
func (s *Server) Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return s.command(ctx, app.Caller{Local: true}, args, stdin, stdout, stderr)
}

func (s *Server) command(ctx context.Context, caller app.Caller, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	return command.Run(ctx, s.services, caller, args, stdin, stdout, stderr)
}

// Listeners are where a Server serves.
type Listeners struct {
	SSH, Control net.Listener
	HTTP         net.Listener // nil on a cluster: its ingress answers
}

// State is the content of serve.json.
type State struct {
	PID  int    `json:"pid"`
	SSH  string `json:"ssh"`
	HTTP string `json:"http,omitempty"`
}

// Serve answers the apps' requests at once, commands after Start, and pushes when the builder image is ready. It returns when ctx ends, with nothing
// left under way, or when a part fails.
//
// Requests get what the platform served when the process before it ended, which Start may still have to finish or to take back: that is what they got
// then as well.
func (s *Server) Serve(ctx context.Context, l Listeners, control *http.Server, progress *app.Log) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	part := func(name string, f func() error) {
		running.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	if s.site.web != nil {
		part("http", func() error { return s.site.web.Serve(local.Bound(l.HTTP, connectionLimits(s.o))) })
	}
	err := s.Start(ctx)
	if err == nil {
		part("control socket", func() error { return control.Serve(l.Control) })
		err = s.PrepareBuilds(ctx, progress)
	}
	if isFull(err) { // the apps serve on; pushes wait
		s.o.Log("builds are not ready, and are tried again every %s: %v", retryBuildsAfter, err)
		running.Go(func() { s.retryBuilds(ctx, progress) })
		err = nil
	}
	if err == nil {
		part("ssh", func() error { return s.receive.Serve(l.SSH) })
		if e := s.writeState(l); e != nil { // a full disk keeps nothing else from serving
			s.o.Log("%s cannot be written: %v", s.path(stateFile), e)
		}
		progress.Step("Ready: ssh on %s, %s, data in %s", l.SSH.Addr(), s.site.where(l), s.o.Data)
		<-ctx.Done()
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.Canceled): // it was asked to stop: that what it was at did not come to its end is no failure
		err = nil
	case err == nil:
		err = cause
	}
	progress.Step("Stopping")
	_ = os.Remove(s.path(stateFile))
	end, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	_ = l.SSH.Close()
	s.stop()
	if s.services != nil { // started
		s.machine.Close() // pushes under way are told; their connections end after that
		s.receive.Shutdown(end)
	}
	if s.site.web != nil {
		// A request that arrives right now is still answered: no new connections, then no further request on the old ones, then wait.
		_ = l.HTTP.Close()
		s.site.web.SetKeepAlivesEnabled(false)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-end.Done():
		}
		_ = s.site.web.Shutdown(end)
	}
	_ = control.Close()
	running.Wait()
	return err
}

// retryBuildsAfter is how long a server whose disk is full waits until it tries again to make builds ready.
const retryBuildsAfter = 30 * time.Second

// retryBuilds tries until there is room.
func (s *Server) retryBuilds(ctx context.Context, progress *app.Log) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryBuildsAfter):
		}
		err := s.PrepareBuilds(ctx, progress)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.o.Log("builds are not ready: %v", err)
	}
}

func (s *Server) writeState(l Listeners) error {
	state := State{PID: os.Getpid(), SSH: l.SSH.Addr().String()}
	if l.HTTP != nil {
		state.HTTP = l.HTTP.Addr().String()
	}
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return disk.ReplaceBytes(s.path(stateFile), 0o600, b)
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
