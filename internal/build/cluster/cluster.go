// Package cluster builds in Pods: the phases of the CNB lifecycle are containers of one Pod.
//
// A Pod has three containers, one after the other, all of the builder image: "prepare" takes the source from gitd, analyzes the previous
// image and restores its layers; "build" detects and builds, which is where the app's own code runs; "export" writes the image. A
// container has one more thing to know than "build" has: the registry's credentials. gitd hands them over with the source, into a volume
// in memory that "build" does not see, so that a build leaves no object in the cluster but its Pod.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/kube"
)

// Images is what the engine needs of the registry: see registry.Images.
type Images interface {
	Image(repository, digest string) (v1.Image, error)
	Tags(repository string) (map[string]string, error)
	Pushed(repository, digest string) error
	DeleteRepository(repository string) error
	PushConfig(host string, repositories ...string) ([]byte, error)
	PullConfig(host, repository string) ([]byte, error)
}

// Options configure an Engine.
type Options struct {
	Client    *kube.Client
	Namespace string // of the build Pods; it exists
	// Instance tells this gitd's Pods from those of another one in the same namespace. "": the namespace.
	Instance string
	Images   Images
	Builder  *Published
	// Pull is what nodes put before the repository of an image: "registry.example.com/team", "10.0.0.5:5000".
	Pull string
	// Push is what a Pod puts there. "": as Pull.
	Push string
	// Insecure says that Push speaks plain HTTP.
	Insecure bool
	// StorageClass is that of the PersistentVolumeClaim that keeps an app's cache. "": the cache is an image in the registry.
	StorageClass string
	// Dir is where sources are written on their way to a Pod. "": the system's directory for temporary files.
	Dir string
	Log func(format string, args ...any)
}

// Engine builds in Pods.
type Engine struct {
	o        Options
	sessions lifecycle.Sessions
	home     string // directory of our own in Options.Dir

	closing context.Context // ends what goes on after builds have ended
	close   context.CancelFunc
	after   sync.WaitGroup

	schedule time.Duration // how long a Pod may wait for a node
	pull     time.Duration // how long pulling an image may fail: a node's second attempt comes after ten seconds and more
	reach    time.Duration // how long a node may be out of reach
}

var _ build.Builder = (*Engine)(nil)

var (
	pods    = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	claims  = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
)

// Labels of what the engine makes.
const (
	labelManaged   = "app.kubernetes.io/managed-by"
	labelComponent = "app.kubernetes.io/component"
	labelInstance  = "gitd.io/instance"
	labelApp       = "gitd.io/app"
	labelVersion   = "gitd.io/version"

	componentBuild = "build"
	componentCache = "build-cache"
)

// Expect does nothing: Pods are the cluster's to start.
func (e *Engine) Expect() {}

// RunImage returns the run image's repository in the registry, and its digest.
func (e *Engine) RunImage() (repository, digest string) {
	repository, digest, _ = strings.Cut(e.o.Builder.RunImage, "@")
	return repository, digest
}

// New returns an engine, removes the Pods that an earlier process left, and gives the nodes what they need to pull the builder image.
func New(ctx context.Context, o Options) (*Engine, error) {
	if o.Instance == "" {
		o.Instance = o.Namespace
	}
	if o.Push == "" {
		o.Push = o.Pull
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	e := &Engine{o: o, sessions: lifecycle.Sessions{Quiet: 2 * time.Second}, schedule: time.Minute, pull: 25 * time.Second, reach: time.Minute}
	e.closing, e.close = context.WithCancel(context.Background())
	home, err := e.makeHome()
	if err != nil {
		return nil, err
	}
	e.home = home
	if err := e.reap(ctx); err != nil {
		return nil, err
	}
	if err := e.pullSecret(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// makeHome makes an empty directory for sources, in place of an earlier process's.
func (e *Engine) makeHome() (string, error) {
	dir := e.o.Dir
	if dir == "" {
		d, err := os.MkdirTemp("", "gitd-sources-")
		return d, err
	}
	home := filepath.Join(dir, "sources")
	if err := errors.Join(disk.RemoveAll(home), os.MkdirAll(home, 0o700)); err != nil {
		return "", app.Errorf(app.CodeUnavailable, "check who owns the data directory and that its disk is not full", "cannot make the build directory %s: %w", home, err)
	}
	return home, nil
}

// Close ends what is still under way after builds, such as writing their caches, and waits for it.
func (e *Engine) Close() error {
	e.close()
	e.after.Wait()
	return disk.RemoveAll(e.home)
}

func (e *Engine) selector(component string) string {
	return fmt.Sprintf("%s=gitd,%s=%s,%s=%s", labelManaged, labelComponent, component, labelInstance, e.o.Instance)
}

func (e *Engine) labels(component, name string) map[string]string {
	return map[string]string{labelManaged: "gitd", labelComponent: component, labelInstance: e.o.Instance, labelApp: name}
}

// reap removes the Pods of builds that were under way when an earlier process ended.
func (e *Engine) reap(ctx context.Context) error {
	left, err := e.o.Client.Resource(pods, e.o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: e.selector(componentBuild)})
	if err != nil {
		return kube.Explain(err, "list the Pods of earlier builds")
	}
	for _, p := range left.Items {
		e.o.Log("build of %s v%s was under way when gitd ended: its Pod %s is removed", p.GetLabels()[labelApp], p.GetLabels()[labelVersion], p.GetName())
		if err := e.deletePod(ctx, p.GetName(), 0); err != nil {
			return kube.Explain(err, "remove the Pod of an earlier build")
		}
	}
	return nil
}

func (e *Engine) deletePod(ctx context.Context, name string, grace int64) error {
	err := e.o.Client.Resource(pods, e.o.Namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// pullSecretName is what Pods name for their nodes; "" where the registry asks for no credentials.
func (e *Engine) pullSecretName() (string, []byte, error) {
	config, err := e.o.Images.PullConfig(e.o.Pull, "")
	if err != nil || config == nil {
		return "", nil, err
	}
	return "gitd-pull-" + e.o.Instance, config, nil
}

func (e *Engine) pullSecret(ctx context.Context) error {
	name, config, err := e.pullSecretName()
	if err != nil || name == "" {
		return err
	}
	_, _, err = e.o.Client.Apply(ctx, secrets, &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.o.Namespace, Labels: map[string]string{labelManaged: "gitd", labelInstance: e.o.Instance}},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: config},
	})
	if err != nil {
		return kube.Explain(err, "write the Secret with which nodes pull the builder image")
	}
	return nil
}
