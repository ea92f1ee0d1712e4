// Package registry is the embedded OCI registry: distribution/v3 on the data directory, on a loopback port, with credentials
// for each app.
package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the storage driver that we configure
	"github.com/gitd-io/gitd/internal/app"
	"github.com/sirupsen/logrus"
)

// ErrNotFound is returned (wrapped) for an image or blob that is not in the registry.
var ErrNotFound = errors.New("not in the registry")

// RunImage is the repository of the run image. Every credential may read it, none may write to it: AddImage does.
const RunImage = "gitd/run"

// grace is how long Collect keeps what nothing refers to: a push puts its blobs first and its manifest last, and a release
// is recorded after that.
const grace = time.Hour

// Registry serves images from a directory.
type Registry struct {
	dir      string
	secret   [32]byte // of this process: credentials end with it
	listener net.Listener
	server   *http.Server
	app      *handlers.App
	served   chan struct{}
	now      func() time.Time

	// collecting is held shared by everything that adds or relies on what is on the disk for a moment, and alone by Collect.
	// Nobody holds it for as long as a build takes: Hold is for that.
	collecting sync.RWMutex
	mu         sync.Mutex
	held       map[held]int
}

type held struct{ repository, digest string }

// Open starts the registry on a free loopback port.
func Open(ctx context.Context, dir string) (*Registry, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, app.Errorf(app.Unavailable, "check who owns the data directory and that its disk is not full", "cannot make the registry's directory: %w", err)
	}
	r := &Registry{dir: dir, now: time.Now, held: map[held]int{}, served: make(chan struct{})}
	if _, err := rand.Read(r.secret[:]); err != nil {
		return nil, err
	}
	if r.app, err = newApp(dir); err != nil {
		return nil, err
	}
	if r.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0"); err != nil {
		return nil, app.Errorf(app.Unavailable, "check that the loopback interface is up", "the registry cannot listen: %w", err)
	}
	r.server = &http.Server{
		Handler:           r.authorise(r.app),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(r.listener)
	}()
	return r, nil
}

// newApp makes the handler of distribution. It logs to nowhere: what fails is in the answer, and the clients are ours.
func newApp(dir string) (a *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil { // its constructor panics on what it does not like
			err = fmt.Errorf("registry: %v", p)
		}
	}()
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	c := &configuration.Configuration{}
	c.Storage = configuration.Storage{
		"filesystem": {"rootdirectory": dir},
		"maintenance": {"uploadpurging": map[any]any{ // Collect does that
			"enabled": false, "age": "168h", "interval": "24h", "dryrun": false,
		}},
	}
	c.Log.AccessLog.Disabled = true
	c.HTTP.Secret = hex.EncodeToString(secret)
	silence()
	return handlers.NewApp(context.Background(), c), nil
}

// silence turns off the logger that distribution takes where it is given none; it leaves no other way. It is logrus's own,
// which nothing else of ours writes to.
var silence = sync.OnceFunc(func() { logrus.SetOutput(io.Discard) })

// Host is the address that references start with: "127.0.0.1:PORT". It changes from start to start: store repository and
// digest, never a whole reference.
func (r *Registry) Host() string { return r.listener.Addr().String() }

// Close stops serving.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.served
	return errors.Join(err, r.app.Shutdown())
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
