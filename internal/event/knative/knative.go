// Package knative is events on a cluster, by Knative Eventing: brokers are Broker objects, triggers are Trigger objects, and Knative delivers. What Knative
// does not keep, dead letters and the last events, is kept by a program that gitd runs beside it (internal/event/keeper).
//
// Nothing is kept here: what there is stands in the cluster, found again by labels.
package knative

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/keyed"
	"github.com/gitd-io/gitd/internal/kube"
)

// Options configure a Platform.
type Options struct {
	Client *kube.Client
	// Namespace is where brokers, triggers and the keeper go. Make says that gitd makes it.
	Namespace string
	Make      bool
	// NamespaceOf is where the Service of an app is.
	NamespaceOf func(app string) string
	// Instance tells what this gitd made from what another one on the same cluster did. "": everything with gitd's labels is ours.
	Instance string
	// Image puts the keeper's image into the registry, and returns its reference as nodes pull it.
	Image func(ctx context.Context) (string, error)
	// PullConfig returns a docker config.json with which nodes may pull that image; nil where the registry asks for no credentials.
	PullConfig func() ([]byte, error)
	// StorageClass is that of the keeper's volume; "" for the cluster's default.
	StorageClass string
	Log          func(format string, args ...any)
	Rights       event.Rights // nil: each sender may send to each broker
}

// Platform is the events of a cluster.
type Platform struct {
	o     Options
	c     *kube.Client
	locks keyed.Locks // by app, and of the keeper

	mu    sync.Mutex
	token string            // of the keeper that runs; "" where it is not known yet
	known map[string]string // URLs of the brokers that were found ready
	sink  string            // of the default broker; "" where it is not known yet
	door  string            // to which requests from outside are sent; "" where it is not known yet

	opened chan struct{} // closed when door is known

	tokensRead map[string]token // nil: they are to be read

	lately []event.Live // see recent
	listed time.Time    // when they were read
}

var _ event.Platform = (*Platform)(nil)

// Bounds of what the platform waits for.
const (
	readyTime  = time.Minute     // for a broker or a trigger
	keeperTime = 3 * time.Minute // for the keeper's image to be pulled, and its volume to be made
	lookEvery  = 200 * time.Millisecond
)

// Labels and annotations of what gitd makes on a cluster.
const (
	managedBy   = kube.ManagedBy
	manager     = kube.FieldManager
	instLabel   = kube.InstanceLabel
	appLabel    = "gitd.io/app"
	idLabel     = "gitd.io/app-id"
	seenLabel   = "gitd.io/events" // of the trigger by which the keeper sees the events of a broker
	triggerNote = "gitd.io/trigger"
	ownerNote   = "gitd.io/owner"
	byNote      = "gitd.io/by"
	keysNote    = "gitd.io/keys" // to whose apps a broker was given, with a space between them
)

var (
	brokers         = schema.GroupVersionResource{Group: "eventing.knative.dev", Version: "v1", Resource: "brokers"}
	triggers        = schema.GroupVersionResource{Group: "eventing.knative.dev", Version: "v1", Resource: "triggers"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	secrets         = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	claims          = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	services        = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	knativeServices = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}
	deployments     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// Open returns the platform. It asks nothing of the cluster: what needs Knative Eventing says so when it is used.
func Open(o Options) *Platform {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return &Platform{o: o, c: o.Client, known: map[string]string{}, opened: make(chan struct{})}
}

// Start implements event.Platform: Knative delivers always.
func (p *Platform) Start() { go p.removeAllRetired(context.Background()) }

// Ready implements event.Platform: Knative Eventing is there, and the default broker, which it makes.
func (p *Platform) Ready(ctx context.Context, all ...event.Trigger) error {
	if err := p.checkSinks(all); err != nil {
		return err
	}
	if err := p.installed(ctx); err != nil {
		return err
	}
	_, err := p.ensureBroker(ctx, event.DefaultBroker)
	return err
}

// installed returns an *app.Error where the cluster has no Knative Eventing.
func (p *Platform) installed(ctx context.Context) error {
	body, err := p.c.REST.Get().AbsPath("/apis/eventing.knative.dev/v1").DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return notInstalled()
	}
	if err != nil {
		return kube.Explain(err, "ask for Knative Eventing")
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("resources of eventing.knative.dev/v1: %w", err)
	}
	missing := map[string]bool{"brokers": true, "triggers": true}
	for _, r := range list.APIResources {
		delete(missing, r.Name)
	}
	for name := range missing {
		return app.Errorf(app.CodeUnavailable, "install Knative Eventing again", "Knative Eventing is installed in part only: it has no %s", name)
	}
	return nil
}

func notInstalled() error {
	return app.Errorf(app.CodeUnavailable, "have the cluster's operator install it: https://knative.dev/docs/install/; without triggers everything else works",
		"there are no events: Knative Eventing is not installed on this cluster")
}

// explained is an error of the API in words. doing is what failed.
func explained(err error, doing string) error {
	if err == nil {
		return nil
	}
	var known *app.Error
	if errors.As(err, &known) {
		return err
	}
	if apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource") {
		return notInstalled()
	}
	return kube.Explain(err, doing)
}

// labelled adds the labels by which this gitd finds what it made.
func (p *Platform) labelled(labels map[string]any) map[string]any {
	labels[managedBy] = manager
	if p.o.Instance != "" {
		labels[instLabel] = p.o.Instance
	}
	return labels
}

// ours selects what this gitd made, with more labels: key, value, key, value …
func (p *Platform) ours(kv ...string) string {
	s := managedBy + "=" + manager
	if p.o.Instance != "" {
		s += "," + instLabel + "=" + p.o.Instance
	}
	for i := 0; i < len(kv); i += 2 {
		s += "," + kv[i] + "=" + kv[i+1]
	}
	return s
}

// object begins one of gitd's objects.
func (p *Platform) object(apiVersion, kind, name string, labels, annotations, rest map[string]any) *unstructured.Unstructured {
	metadata := map[string]any{"name": name, "labels": p.labelled(labels)}
	if kind != "Namespace" {
		metadata["namespace"] = p.o.Namespace
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": metadata}
	for k, v := range rest {
		o[k] = v
	}
	return &unstructured.Unstructured{Object: o}
}

// get reads an object; nil where there is none.
func (p *Platform) get(ctx context.Context, gvr schema.GroupVersionResource, name string) (*unstructured.Unstructured, error) {
	u, err := p.c.Resource(gvr, p.o.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !strings.Contains(err.Error(), "could not find the requested resource") {
		return nil, nil
	}
	return u, err
}

// list reads gitd's objects of a kind.
func (p *Platform) list(ctx context.Context, gvr schema.GroupVersionResource, kv ...string) ([]unstructured.Unstructured, error) {
	l, err := p.c.Resource(gvr, p.o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: p.ours(kv...)})
	if err != nil {
		return nil, err
	}
	return l.Items, nil
}

// remove deletes an object, if it exists.
func (p *Platform) remove(ctx context.Context, gvr schema.GroupVersionResource, name string) error {
	err := p.c.Resource(gvr, p.o.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// condition is what an object says of its readiness, of its present form.
func condition(u *unstructured.Unstructured) (ready bool, why string) {
	status, why := kube.Status(u, "Ready")
	if status == "" && why == "" {
		why = "nothing is known of it yet"
	}
	return status == "True" && kube.Observed(u), why
}

// waitReady waits until an object is ready.
func (p *Platform) waitReady(ctx context.Context, gvr schema.GroupVersionResource, what, name string) error {
	return p.waitReadyUnless(ctx, gvr, what, name, func(context.Context) error { return nil })
}

// waitReadyUnless waits until an object is ready, or never says why it never is.
func (p *Platform) waitReadyUnless(ctx context.Context, gvr schema.GroupVersionResource, what, name string, never func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		u, err := p.get(ctx, gvr, name)
		if err != nil && ctx.Err() == nil {
			return err
		}
		why := "it is gone"
		if u != nil {
			var ready bool
			if ready, why = condition(u); ready {
				return nil
			}
		}
		if err := never(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return p.notReady(what, gvr, name, why)
		}
	}
}

// notReady is the error of an object that is not ready in time.
func (p *Platform) notReady(what string, gvr schema.GroupVersionResource, name, why string) error {
	return app.Errorf(app.CodeUnavailable, "look at it: kubectl -n "+p.o.Namespace+" describe "+gvr.GroupResource().String()+" "+name,
		"the %s %s is not ready after %s: %s", what, name, readyTime, app.Line(why, 300))
}
