// Package release takes a push through its states, from received to live: it builds, starts, shifts traffic, and records each
// step in the ledger. It knows builders and platforms by their interfaces only.
package release

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/keyed"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Images is the part of the registry that the machine uses.
type Images interface {
	// Collect removes every image that is not needed and is older than since, and returns the bytes freed.
	Collect(ctx context.Context, needed registry.Needed, since time.Time) (freed int64, err error)
	// CollectRepository does the same for one repository, in which these digests are needed, and leaves what may be shared with others to Collect.
	CollectRepository(ctx context.Context, repository string, digests []string, since time.Time) error
}

// Shelf is where images are read and put that are not built here.
type Shelf interface {
	// Image returns an image of a repository; registry.ErrNotFound (wrapped) where it is not there whole.
	Image(repository, digest string) (v1.Image, error)
	// AddImage stores an image under repository:tag.
	AddImage(ctx context.Context, repository, tag string, img v1.Image) error
}

// Jobs runs a command of a release that is not live yet, as deploy.Platform's Run does, and keeps a line of it: *job.Manager.
type Jobs interface {
	Release(ctx context.Context, r app.Release, svc *servingv1.Service, spec deploy.RunSpec) (deploy.Exit, error)
}

// Options configure a Machine.
type Options struct {
	Store        *store.Store
	Builder      build.Builder
	Queue        *build.Queue // of all apps' builds; nil for no limit
	Platform     deploy.Platform
	Jobs         Jobs                            // keeps a line of each command of a release; nil for none
	Triggers     Triggers                        // of what is live; nil for none
	TakeRequests func(ctx context.Context) error // has the requests of webhooks come in
	Config       *secret.Configurations
	Images       Images
	Shelf        Shelf // of the same registry
	RunImages    RunImages
	LogDir       string // build logs: LogDir/APP/vN.log
	Timings      string // file to append each release's timings to as JSON lines; "" for none
	Limits       build.Limits
	Caps         Caps
	MinFree      int64                   // bytes that must be free on the disk under LogDir for a push to be accepted
	URL          func(app string) string // where people reach an app
	// ImagesFrom are networks that ready images may come from although they are not public; PullDir is a folder of its own for images that are being
	// fetched, which is emptied when a process begins.
	ImagesFrom []netip.Prefix
	PullDir    string
	// LiveRef returns the commit that git clone gives back (of a preview, the one of its branch); "" for none. nil: Recover sets all refs.
	LiveRef func(a app.App) (commit string, err error)
	// SetLive makes the commit the one that git clone gives back; "" for none. Used for rollbacks, for ready images and after a crash.
	SetLive func(a app.App, commit string) error
	// Remove removes what an app or a preview has beside its Service, logs and ledger; may be nil.
	Remove func(ctx context.Context, a app.App) error
	// Removed is called when the ledger has let go of an app or a preview; may be nil.
	Removed func(ctx context.Context)
	Log     func(format string, args ...any)

	Metrics telemetry.Releases // count nothing where they are not set
	Builds  telemetry.Builds
	Tracer  *telemetry.Tracer // nil: nothing is traced
}

// kept is how many revisions of an app that were live or ready are kept for rollbacks and promotions, with their images.
const kept = 10

// Machine runs deployments, one an app at a time: the newest push wins.
type Machine struct {
	o      Options
	ctx    context.Context // ends when the server stops
	stop   context.CancelCauseFunc
	turns  turns
	leases leases

	reserves reserves

	configuring keyed.Locks // by app: a change of its configuration is worked out, or goes live

	sweepSoon chan struct{} // asks for a Sweep

	mu sync.Mutex
	// mu guards the following.
	closed  bool
	running sync.WaitGroup // deployments, destructions, collections; none begins when closed
}

// New returns a machine. Call Recover before the first push.
func New(o Options) *Machine {
	m := &Machine{o: o, sweepSoon: make(chan struct{}, 1)}
	m.ctx, m.stop = context.WithCancelCause(context.Background())
	return m
}

// Close cancels what is under way, with that as the reason, and waits for it to end.
func (m *Machine) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop(shuttingDown())
	m.running.Wait()
}

// begin adds to what Close waits for, unless the machine is closed.
func (m *Machine) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return shuttingDown()
	}
	m.running.Add(1)
	return nil
}

func shuttingDown() error {
	return app.Errorf(app.CodeUnavailable, "push again in a moment", "the server is shutting down")
}
