// Package registry has the images of the apps: the embedded OCI registry (Registry: distribution/v3 on the data directory, on a loopback
// port and, for a cluster, on an address that its nodes and Pods reach), and any other by its name (Remote).
package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/registry/api"
)

// ErrNotFound is returned (wrapped) for an image or blob that is not in the registry.
var ErrNotFound = errors.New("not in the registry")

// RunImage is the repository of the run image.
const RunImage = System + "run"

// System is how the names of our own repositories begin (run image, builder image). Every credential may read them, none may write to them:
// AddImage does.
const System = "gitd/"

// CacheSuffix is how the names of repositories end that hold nothing but an app's build cache: "hello/cache".
const CacheSuffix = "/cache"

// systemGrace is how long images of our own stay that no process has added again, such as builders of earlier versions.
const systemGrace = 7 * 24 * time.Hour

// grace is how long Collect keeps what nothing refers to: a push puts its blobs first and its manifest last, and a release
// is recorded after that.
const grace = time.Hour

// Registry serves images from a directory.
type Registry struct {
	dir      string
	secret   [32]byte // of this process: credentials of repositories end with it
	pull     [32]byte // of the directory: nodes pull images again long after the process that handed out their credentials
	listener net.Listener
	server   *http.Server
	network  *network // nil where only this machine asks
	api      *api.API
	served   chan struct{}
	now      func() time.Time
	opened   time.Time // uploads from before it ended with the process that took them

	// collecting is held shared by everything that adds or relies on what is on the disk for a moment, and alone by Collect for each of its
	// steps. A build does not hold it: Hold is for that.
	collecting sync.RWMutex
	tidying    sync.WaitGroup
	closing    atomic.Bool

	mu sync.Mutex // mu guards the following

	held map[held]int
}

type held struct{ repository, digest string }

// Options configure a Registry.
type Options struct {
	Dir string
	// Listen is a second address, for the nodes and Pods of a cluster: "10.0.0.5:5000", ":5000". "": this machine only.
	Listen string
	// CertFile and KeyFile make Listen speak TLS; both are read again when they change. "": plain HTTP.
	CertFile, KeyFile string
	// MaxBlob is the size in bytes of the largest blob that is taken at Listen; default 8 GiB.
	MaxBlob int64
	// MinFree is how many bytes the disk must have free for Listen to take anything; default 512 MiB.
	MinFree int64
}

// Open starts the registry on a free loopback port.
func Open(ctx context.Context, dir string) (*Registry, error) {
	return OpenWith(ctx, Options{Dir: dir})
}

// OpenWith starts the registry on a free loopback port, and at Options.Listen.
func OpenWith(ctx context.Context, o Options) (*Registry, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "check who owns the data directory and that its disk is not full", "cannot make the registry's directory %s: %w", dir, err)
	}
	r := &Registry{dir: dir, now: time.Now, opened: time.Now(), held: map[held]int{}, served: make(chan struct{})}
	if _, err := rand.Read(r.secret[:]); err != nil {
		return nil, err
	}
	if err := r.loadPullSecret(); err != nil {
		return nil, err
	}
	if r.api, err = api.New(dir); err != nil {
		return nil, err
	}
	if r.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0"); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "check that the loopback interface is up", "the registry cannot listen: %w", err)
	}
	r.server = newServer(r.authorise(r.guard(r.api)))
	if o.Listen != "" {
		if r.network, err = r.listen(ctx, o); err != nil {
			r.listener.Close()
			return nil, err
		}
	}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(r.listener)
	}()
	r.tidying.Go(r.tidyUp)
	return r, nil
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
}

// Host is the address that references start with: "127.0.0.1:PORT". It changes from start to start: store repository and
// digest, never a whole reference.
func (r *Registry) Host() string { return r.listener.Addr().String() }

// Serve answers on a listener that is on loopback, as of a network namespace of the caller's, with the same checks of credentials. It returns
// when the listener or the registry is closed.
func (r *Registry) Serve(l net.Listener) error { return r.server.Serve(l) }

// Close stops serving.
func (r *Registry) Close() error {
	r.closing.Store(true)
	r.tidying.Wait()
	err := r.server.Close()
	<-r.served
	if r.network != nil {
		err = errors.Join(err, r.network.close())
	}
	return err
}

// Hold keeps Collect from removing an image while something relies on it, such as a build that reuses its layers.
// Call release when done.
func (r *Registry) Hold(repository, digest string) (release func()) {
	k := held{repository, digest}
	r.mu.Lock()
	r.held[k]++
	r.mu.Unlock()
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held[k]--; r.held[k] <= 0 {
			delete(r.held, k)
		}
	})
}
