// Package knative runs Services on a Kubernetes cluster with Knative Serving.
//
// Nothing is kept here: what there is stands in the cluster, found again by labels. A release is a revision, named by gitd, and a Secret
// of the same name with its configuration and with the template as it was given, so that the same release can be recognised.
package knative

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/keyed"
	"github.com/gitd-io/gitd/internal/kube"
)

// Options configure a Platform.
type Options struct {
	Client    *kube.Client
	Namespace string // where the apps go; "" for one namespace each, named NamespacePrefix + app
	// NamespacePrefix is for namespaces of apps; default "app-".
	NamespacePrefix string
	// Pull is what nodes put before the repository of an image: "registry.example.com/team", "localhost:30500".
	Pull string
	// PullConfig returns a docker config.json with which nodes may pull the images of an app ("*": of every app, where all are in one
	// namespace); nil where the registry asks for no credentials. A nil function is that, too.
	PullConfig func(app string) ([]byte, error)
	// Ingress is the host:port that takes requests for all apps. "": the host of each URL is resolved.
	Ingress string
	// RouteTime is how long the ingress may take to take a change; default 2 minutes.
	RouteTime time.Duration
	// Images is where gitd itself can look at an image, to find its user; nil where it cannot. Then the cluster alone decides whether an
	// image that runs as root is taken.
	Images Images
	// Instance tells what this gitd made from what another one on the same cluster did; a label's value. "": everything with gitd's labels is ours.
	Instance string
	// Sink returns where apps send events to: their K_SINK; "" where there is no broker. A nil function is that, too.
	Sink func(ctx context.Context) string
	// Events is the namespace of brokers and triggers where each app has a namespace of its own.
	Events string
	// Certificates says that gitd has certificates for the domains of apps: Knative is to obtain none for them.
	Certificates bool
	// Redirect has the ingress send requests over HTTP to HTTPS, for domains that have a certificate of gitd's.
	Redirect bool
	Config   deploy.Configuration // nil: a Service that names one is refused
	// Pod puts the image with gitd-pod into the registry, and returns its reference there: REPOSITORY@sha256:….
	Pod func(ctx context.Context) (string, error)
	Log func(format string, args ...any)
}

// Images is where the platform finds images: *registry.Registry.
type Images interface {
	Image(repository, digest string) (v1.Image, error)
}

// Platform is a cluster.
type Platform struct {
	o       Options
	c       *kube.Client
	ingress string      // its class; "" where gitd may not read it
	pulls   bool        // the registry asks nodes for credentials
	locks   keyed.Locks // by Service: one change at a time
	pod     published
	proofs  proofs
	lacks   atomic.Bool // rights that single things need were missing when gitd looked last

	finished finishedLogs

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

var _ deploy.Platform = (*Platform)(nil)

// Bounds of what the platform waits for.
const (
	readyTime    = 10 * time.Minute // for a revision without a progress deadline: Knative's own default
	readyMargin  = 30 * time.Second // over the progress deadline, for Knative to say so itself
	ingressTime  = 10 * time.Second // until an ingress controller that does not react is told of
	deleteTime   = 2 * time.Minute
	terminating  = 6 * time.Minute  // for a namespace of the same name to go: its pods may end requests for as long as these may take
	pullTime     = 20 * time.Second // for an image that a node could not pull once
	replaceTime  = 5 * time.Second  // for a pod that takes another one's place to be told of
	killedTime   = 20 * time.Second // for a node to tell what killed a container
	scheduleTime = 10 * time.Second // for a pod that no node takes
	lookEvery    = time.Second      // where no watch has told of a change
)

// Labels and annotations of what gitd makes on a cluster.
const (
	managedBy   = kube.ManagedBy
	manager     = kube.FieldManager
	appLabel    = "gitd.io/app"
	revLabel    = "gitd.io/revision"
	procLabel   = "gitd.io/process"
	runLabel    = "gitd.io/run"    // name of a run that outlives gitd
	logNote     = "gitd.io/log"    // the file that keeps its output
	numberLabel = "gitd.io/number" // of a worker's Deployment and pods, from the second instance of a type on
	hashNote    = "gitd.io/hash"
	templNote   = "gitd.io/template"
	pullPrefix  = "gitd-pull"
	instLabel   = kube.InstanceLabel
	container   = "user-container" // Knative's name for an only container
	queueProxy  = "queue-proxy"
)

// Labels that Knative gives to what belongs to a Service or a revision.
const (
	serviceLabel     = "serving.knative.dev/service"
	revisionLabel    = "serving.knative.dev/revision"
	revisionUIDLabel = "serving.knative.dev/revisionUID"
)

var (
	services      = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}
	revisions     = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "revisions"}
	routes        = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "routes"}
	autoscalers   = schema.GroupVersionResource{Group: "autoscaling.internal.knative.dev", Version: "v1alpha1", Resource: "podautoscalers"}
	ingresses     = schema.GroupVersionResource{Group: "networking.internal.knative.dev", Version: "v1alpha1", Resource: "ingresses"}
	serverless    = schema.GroupVersionResource{Group: "networking.internal.knative.dev", Version: "v1alpha1", Resource: "serverlessservices"}
	pods          = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secrets       = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	namespaces    = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps    = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	events        = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	deployments   = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	jobs          = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	podMetrics    = schema.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}
	accessReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
)

// Open checks that the cluster can do what gitd asks of it and returns the platform. The errors are *app.Error.
func Open(ctx context.Context, o Options) (*Platform, error) {
	o.NamespacePrefix = cmp.Or(o.NamespacePrefix, "app-")
	o.RouteTime = cmp.Or(o.RouteTime, 2*time.Minute)
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	p := &Platform{o: o, c: o.Client}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	config, err := p.pullConfig(everyApp)
	if err != nil {
		return nil, err
	}
	p.pulls = config != nil
	ctx = app.WithNotice(ctx, o.Log)
	if err := p.preflight(ctx); err != nil {
		return nil, err
	}
	if err := p.removeOldJobs(ctx); err != nil {
		return nil, kube.Explain(err, "remove what an earlier gitd left")
	}
	if err := p.renewPulls(ctx); err != nil {
		return nil, kube.Explain(err, "renew the Secrets with which nodes pull images")
	}
	return p, nil
}

// Close ends what looks at the cluster: everything keeps running there.
func (p *Platform) Close() error {
	p.stop()
	p.tasks.Wait()
	return nil
}

// Namespace is where the Service of an app is.
func (p *Platform) Namespace(app string) string { return p.namespace(app) }

// namespace is where a Service is.
func (p *Platform) namespace(service string) string {
	return cmp.Or(p.o.Namespace, p.o.NamespacePrefix+service)
}

// lock serialises the changes to one Service. A change holds it until the cluster has made it so (settle), which can take minutes: a
// second change waits for the first, as a second rollout of the app would. Reads (Get, Describe, Logs, Probe) take no lock.
func (p *Platform) lock(service string) (unlock func()) {
	return p.locks.Lock(service)
}

// tell reports something to the caller, else to gitd's log.
func (p *Platform) tell(ctx context.Context, format string, args ...any) {
	if tell := app.Notice(ctx); tell != nil {
		tell(format, args...)
		return
	}
	p.o.Log("deploy: %s", fmt.Sprintf(format, args...))
}

// calling prepares the context of a call: its caller, else gitd's log, is told once when the API server is away.
func (p *Platform) calling(ctx context.Context) context.Context {
	return app.WithNotice(ctx, func(format string, args ...any) { p.tell(ctx, format, args...) })
}
