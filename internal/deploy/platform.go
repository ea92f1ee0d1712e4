// Package deploy takes an image live: a Platform runs Services, and Rollout moves one to a new revision, blue/green.
// The platforms are in the folders below; contract is the suite that each of them passes.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// ErrNotFound is returned (wrapped) for a Service or a revision that does not exist on the platform.
var ErrNotFound = errors.New("not found")

// ErrStopped is returned (wrapped) for a Service that is stopped, by a platform that has nothing of a stopped Service but the answer to its requests. It is
// an ErrNotFound.
var ErrStopped = fmt.Errorf("stopped: %w", ErrNotFound)

// ErrNotRouted is returned (wrapped) where a platform has accepted a change, and requests do not follow it in time.
var ErrNotRouted = errors.New("not routed")

// Tags in spec.traffic. A tag's revision answers under TAG-SERVICE.DOMAIN. gitd sets green; blue is of older versions of gitd, and is
// removed where it is found.
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
	// Apply creates the Service or changes it to svc's spec: it creates the template's revision if that does not exist,
	// and routes traffic by spec.traffic (each target by revisionName). New requests follow the new split when Apply
	// returns; a revision with traffic but no instance gets one, and requests wait for it.
	// Validation is Knative's own; its error reaches the caller as an *app.Error with code CodeInvalidInput.
	Apply(ctx context.Context, svc *servingv1.Service) error
	// Get returns the Service with its status (traffic, latest created and ready revision, URL), or ErrNotFound.
	Get(ctx context.Context, service string) (*servingv1.Service, error)
	// List returns all Services, by name.
	List(ctx context.Context) ([]*servingv1.Service, error)
	// Delete removes a Service, its revisions and their instances. It returns ErrNotFound where there is no such Service.
	Delete(ctx context.Context, service string) error
	// DeleteRevision removes one that gets no traffic and has no tag.
	DeleteRevision(ctx context.Context, service, revision string) error

	// WaitReady blocks until an instance of the revision passes its readiness probe. It starts one if there is none.
	// It fails early, with a *StartError, when the instance cannot come up.
	WaitReady(ctx context.Context, service, revision string) error
	// Ended returns how an instance of the revision last ended by itself after since, as a *StartError, even if another instance has
	// replaced it; nil where none ended.
	Ended(ctx context.Context, service, revision string, since time.Time) error
	// Probe sends one GET to the revision that has the tag, the way of a client's request, and returns the status.
	// The body is discarded. An error means that there was no response.
	Probe(ctx context.Context, service, tag, path string) (status int, err error)
	// Send sends a request to the Service the way of a client's: by its own name, so that maintenance and stops answer it as they do others, and an
	// instance wakes from zero for it. Where to is not in r: its URL has a path and a query alone. The caller closes the body of the answer, which ends with ctx.
	// It returns ErrNotFound where there is no such Service. An error means that there was no answer.
	Send(ctx context.Context, service string, r *http.Request) (*http.Response, error)
	// WaitDrained blocks until the revision has no request in flight.
	WaitDrained(ctx context.Context, service, revision string) error

	Runs

	// SetWorkers runs these process types of the Service's image beside its web process: so many instances of each, with the template's
	// environment, each restarted when it ends (after a growing pause, at most a minute), but for one that ends with status 0 within
	// FinishesWithin of its first start. The Service is applied already.
	// Workers of its other revisions, and instances that are not asked for, are stopped; with no workers, none runs. Those that run already as
	// asked for go on. It returns when the old ones are told to stop and the new ones are scheduled: it does not wait for them to be up. A type that
	// CheckProcesses does not accept is an *app.Error (InvalidInput).
	SetWorkers(ctx context.Context, svc *servingv1.Service, workers []Worker) error

	// Instances returns the instances of the Service, by type and name: of web those that there are, and one without a name for a revision
	// whose instances do not stay up; of workers all that there should be. With measure it says what they use, which takes a moment.
	Instances(ctx context.Context, service string, measure bool) ([]Instance, error)

	// Troubles says of each Service some of whose instances do not stay up which these are, by Service (see Trouble).
	Troubles(ctx context.Context) (map[string]string, error)

	// RestartWorker ends the instances of a worker that SetWorkers has set, and starts them again.
	RestartWorker(ctx context.Context, svc *servingv1.Service, worker Worker) error
	// Stop ends all instances of the Service, its workers too, and lets none start until the next Apply, which ends the stop; workers are to be set
	// again then. Requests to its name are answered by the platform: 503. It returns when nothing runs. It can be repeated.
	Stop(ctx context.Context, service string) error

	// Memory returns the memory in bytes that apps can have, and what is left of it; 0 for both where a scheduler decides.
	Memory(ctx context.Context) (total, left int64)

	// Logs writes the output of the Service's instances to w, by time; with Follow it continues until ctx ends. Each line has the form
	// "2006-01-02T15:04:05.000Z [hello-v3 abc12] text", or, of a worker, "… [hello-v3 worker.1] text".
	Logs(ctx context.Context, service string, o LogOptions, w io.Writer) error
	// SetMaintenance has a Service's clients wait, or be answered with 503, instead of its instances; nil ends that. Requests in flight are not cut,
	// and Apply changes nothing of it. Where the platform holds no requests (Can), one with Hold is an *app.Error with code CodeInvalidInput.
	SetMaintenance(ctx context.Context, service string, m *Maintenance) error
	// Maintenance returns what is on for a Service; nil for nothing.
	Maintenance(ctx context.Context, service string) (*Maintenance, error)
	// Maintained returns what is on, by Service.
	Maintained(ctx context.Context) (map[string]Maintenance, error)
	// SetDomains has requests for these names reach the Service as those for its own name do; all of its domains are given each time. The Service need not
	// exist, and Delete leaves them: they lead to the next one of that name, so give none for an app that goes. A name is one Service's at a time.
	SetDomains(ctx context.Context, service string, domains []Domain) error
	// Can reports whether the platform has an ability.
	Can(a Ability) bool
	// Counters returns what each of the Service's revisions has answered, by revision; one that has answered nothing may be missing. It
	// returns ErrNotFound where there is no such Service.
	Counters(ctx context.Context, service string) (map[string]Counters, error)
	// Describe returns the state of each of the Service's revisions.
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
	Port     int      // the port that the app should listen on ($PORT)
	Listens  []int    // ports that it listens on instead
	ExitCode int      // for Exited
	Signal   string   // for Exited by a signal: "killed"
	Detail   string   // for the other reasons
	LogTail  []string // its last lines of output
	Waited   time.Duration
	Missing  bool  // for ImageError: the image is no longer in the registry
	Err      error // the cause; may be nil
}

// StartReason is why an instance did not come up.
type StartReason string

// The reasons.
const (
	Exited       StartReason = "exited"        // the process ended
	OutOfMemory  StartReason = "out-of-memory" // it was killed at its memory limit
	NotListening StartReason = "not-listening" // nothing answers on the port in time
	ImageError   StartReason = "image"         // the image cannot be pulled or unpacked
	RuntimeError StartReason = "runtime"       // runc or the node refused it
	NoRoom       StartReason = "no-room"       // no node, or no quota, has the capacity that it requests
)

// Error returns what happened, in one line.
func (e *StartError) Error() string { return e.sentence() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }
