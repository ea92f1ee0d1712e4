// Package deploy takes an image live: Platform is what runs Services, Rollout is the blue/green way of getting a new
// revision onto one. The platforms are in folders below.
package deploy

import (
	"context"
	"errors"
	"io"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// ErrNotFound is returned (wrapped) for a Service or a revision that the platform does not hold.
var ErrNotFound = errors.New("not found")

// ErrNotRouted is returned (wrapped) where a platform has taken a change, and nothing sends requests accordingly in time.
var ErrNotRouted = errors.New("not routed")

// Tags in spec.traffic. A tag's revision answers under TAG-SERVICE.DOMAIN. gitd sets green; blue was that of the revision that served
// before, and is taken away where it is found.
const (
	GreenTag = app.GreenTag
	BlueTag  = app.BlueTag
)

// Platform runs serving.knative.dev/v1 Services. Names are unique on it. Everything it accepts survives a restart of gitd.
//
// An image is given as REPOSITORY@sha256:… in the embedded registry; the platform adds the registry's address.
// spec.template.metadata.name names the revision and is required. A revision is immutable: applying one with a name that
// exists and another content is refused.
type Platform interface {
	// Apply creates the Service or moves it to svc's spec: the revision of the template comes to be if it does not exist,
	// and traffic goes as spec.traffic says (each target by revisionName). New requests follow the new split when Apply
	// returns; a revision with traffic but no instance gets one, and requests wait for it.
	// Validation is Knative's own; its error reaches the caller as an *app.Error with code CodeInvalidInput.
	Apply(ctx context.Context, svc *servingv1.Service) error
	// Get returns the Service with its status (traffic, latest created and ready revision, URL), or ErrNotFound.
	Get(ctx context.Context, service string) (*servingv1.Service, error)
	// List returns all Services, by name.
	List(ctx context.Context) ([]*servingv1.Service, error)
	// Delete removes a Service, its revisions and their instances. ErrNotFound when there is none.
	Delete(ctx context.Context, service string) error
	// DeleteRevision removes one that gets no traffic and has no tag.
	DeleteRevision(ctx context.Context, service, revision string) error

	// WaitReady blocks until an instance of the revision passes its readiness probe. It starts one where there is none.
	// It fails early, with a *StartError, when the instance cannot come up.
	WaitReady(ctx context.Context, service, revision string) error
	// Ended returns a *StartError that says how an instance of the revision ended by itself after since, be it that another one has taken
	// its place; the last one where there were more, nil where there was none.
	Ended(ctx context.Context, service, revision string, since time.Time) error
	// Probe sends one GET to the revision that has the tag, the way a client's request would go, and returns the status.
	// The body is read and dropped. An error means that no answer came.
	Probe(ctx context.Context, service, tag, path string) (status int, err error)
	// WaitDrained blocks until the revision has no request in flight.
	WaitDrained(ctx context.Context, service, revision string) error

	// RunProcess runs another process type of the Service's image to its end, with the template's environment and limits and no
	// traffic, and writes what it says to w. It returns a *StartError where it does not exit with status 0. The Service need not
	// be applied.
	RunProcess(ctx context.Context, svc *servingv1.Service, process string, w io.Writer) error

	// SetWorkers makes these process types of the Service's image run beside its web process: one instance each, with the template's
	// environment and limits, and started again when it ends (with a growing pause, at most a minute). The Service is applied already.
	// Workers of other revisions of it, and types that are not named, are stopped; with no types, none runs. It returns when the old
	// ones are told to stop and the new ones are set to start: it does not wait for them to be up.
	SetWorkers(ctx context.Context, svc *servingv1.Service, types []string) error

	// Logs writes what the instances of the Service wrote to w, by time; with Follow it goes on until ctx ends. Each line has the form
	// "2006-01-02T15:04:05.000Z [hello-v3 abc12] text", or, of a worker, "… [hello-v3 worker.1] text".
	Logs(ctx context.Context, service string, o LogOptions, w io.Writer) error
	// Describe returns the state of each revision that the platform holds.
	Describe(ctx context.Context, service string) ([]RevisionStatus, error)
}

// LogTime is the time before a line of Logs, in UTC.
const LogTime = "2006-01-02T15:04:05.000Z"

// LogOptions narrow what Logs writes.
type LogOptions struct {
	Revision string // "" for all
	Follow   bool
	Tail     int // last lines only; 0 for all
}

// RevisionStatus is one revision and its instances.
type RevisionStatus struct {
	Name      string
	Percent   int64
	Tags      []string
	Instances int // ready ones
	InFlight  int
}

// StartError says why a revision did not come up.
type StartError struct {
	Reason   StartReason
	Port     int      // the port that the app was told ($PORT)
	Listens  []int    // ports that it listens on instead
	ExitCode int      // for Exited
	Signal   string   // for Exited by a signal: "killed"
	Detail   string   // for the other reasons
	LogTail  []string // its last lines of output
	ReadOnly bool     // its output tells of a file system that is read-only
	Waited   time.Duration
	Missing  bool  // for ImageError: the image is not in the registry any more
	Err      error // the cause; may be nil
}

// StartReason is why an instance did not come up.
type StartReason string

// The reasons.
const (
	Exited       StartReason = "exited"        // the process ended
	OutOfMemory  StartReason = "out-of-memory" // it was killed at its memory limit
	NotListening StartReason = "not-listening" // nothing answers on the port in time
	ImageError   StartReason = "image"         // the image cannot be had or unpacked
	RuntimeError StartReason = "runtime"       // runc or the node refused it
	NoRoom       StartReason = "no-room"       // no node, or no quota, has what it asks for
)

// Error returns one line: what happened, with the numbers.
func (e *StartError) Error() string { return e.sentence() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }
