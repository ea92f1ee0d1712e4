// Package knative_test tests gitd's platform on a real cluster, which environment variables name (make test-cluster sets them).
package knative_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/retry"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/contract"
	"github.com/gitd-io/gitd/internal/deploy/knative"
	"github.com/gitd-io/gitd/internal/kube"
)

// What names the cluster.
var (
	kubeconfig = os.Getenv("KUBECONFIG")
	ingress    = os.Getenv("GITD_CLUSTER_INGRESS")     // host:port that takes requests for all apps
	pushTo     = os.Getenv("GITD_CLUSTER_REGISTRY")    // as this host pushes to it
	pullFrom   = os.Getenv("GITD_CLUSTER_REGISTRY_IN") // as the nodes pull from it
	domain     = os.Getenv("GITD_CLUSTER_DOMAIN")      // of all apps
)

// What the tests look at.
var (
	namespaces   = core("namespaces")
	services     = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}
	revisions    = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "revisions"}
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	roles        = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	roleBindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
)

// managed is held by a test that makes namespaces with gitd's label, or removes all that have it.
var managed sync.Mutex

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"KUBECONFIG": kubeconfig, "GITD_CLUSTER_INGRESS": ingress, "GITD_CLUSTER_REGISTRY": pushTo, "GITD_CLUSTER_DOMAIN": domain} {
		if value == "" {
			fmt.Fprintf(os.Stderr, "%s is not set: these tests need a cluster. Run make test-cluster, or make cluster and then what it prints.\n", name)
			os.Exit(1)
		}
	}
	pullFrom = cmp.Or(pullFrom, pushTo)
	_ = os.Setenv("AWS_SECRET_ACCESS_KEY", secretWord) // no build may see it
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "7") // they wait for the cluster, most of the time
	}
	os.Exit(m.Run())
}

// client is the cluster as its administrator sees it.
func client(t testing.TB) *kube.Client {
	t.Helper()
	c, err := kube.Open(kubeconfig, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newNamespace makes a namespace with labels (NAME=VALUE) that goes with the test.
func newNamespace(t testing.TB, c *kube.Client, prefix string, labels ...string) string {
	t.Helper()
	name := prefix + "-" + strings.ToLower(rand.Text()[:6])
	ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		ns.Labels[k] = v
	}
	if _, _, err := c.Apply(context.Background(), namespaces, ns); err != nil {
		t.Fatal(kube.Explain(err, "make the namespace "+name))
	}
	t.Cleanup(func() {
		if err := c.Resource(namespaces, "").Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("the namespace %s is left: %v", name, err)
		}
	})
	return name
}

// options are those of a platform in that namespace.
func options(t testing.TB, c *kube.Client, namespace string) knative.Options {
	return knative.Options{Client: c, Namespace: namespace, Pull: pullFrom, Ingress: ingress, Config: contract.Config, Log: apptest.Logger(t), Pod: func(context.Context) (string, error) {
		img, err := cluster.Pod()
		if err != nil {
			return "", err
		}
		return push(t, "pod", img), nil
	}}
}

func open(t testing.TB, o knative.Options) *knative.Platform {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := knative.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// push puts an image into the cluster's registry, and returns its reference as platforms take it.
func push(t testing.TB, repository string, img v1.Image) string {
	t.Helper()
	ref, err := name.NewTag(pushTo+"/"+repository+":latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatalf("push to the cluster's registry: %v", err)
	}
	return contract.Reference(t, repository, img)
}

// web shows answers as they are.
var web = &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// get asks a host at the ingress.
func get(ctx context.Context, host, path string) (code int, body string, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ingress+path, nil)
	if err != nil {
		return 0, "", err
	}
	q.Host = host
	a, err := web.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a.StatusCode, string(b), err
}

// request is get for tests that need an answer.
func request(t *testing.T, host, path string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code, body, err := get(ctx, host, path)
	if err != nil {
		t.Fatal(err)
	}
	return code, body
}

// ask returns what an app says, of which "200 OK" is expected.
func ask(ctx context.Context, app string) (string, error) {
	code, body, err := get(ctx, app+"."+domain, "/")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status %d: %s", code, body)
	}
	return strings.TrimSpace(body), err
}

// eventually waits until f returns nil.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// source is a tree in memory: a file's content, or "-> TARGET" for a link. Names that end with "+x" are programs.
type source map[string]string

func (s source) Checkout(_ context.Context, dir string, _, _ int) error {
	for name, content := range s {
		mode := fs.FileMode(0o644)
		if n, ok := strings.CutSuffix(name, "+x"); ok {
			name, mode = n, 0o755
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(to, file); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			return err
		}
	}
	return nil
}

func (s source) ReadFile(name string, _ int64) ([]byte, error) {
	if c, ok := s[name]; ok {
		return []byte(c), nil
	}
	return nil, fs.ErrNotExist
}

// folder is a tree on the disk.
type folder string

func (f folder) Checkout(_ context.Context, dir string, _, _ int) error {
	return os.CopyFS(dir, os.DirFS(string(f)))
}

func (f folder) ReadFile(name string, _ int64) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(f), name))
}

// testImage is the contract's app in the cluster's registry, made once, with its user as a number.
var testImage struct {
	sync.Mutex
	img v1.Image
	ref string
}

func image(t *testing.T) (v1.Image, string) {
	t.Helper()
	testImage.Lock()
	defer testImage.Unlock()
	if testImage.img != nil {
		return testImage.img, testImage.ref
	}
	img := contract.Image(t)
	f, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := f.Config
	c.User = "1000:1001"
	if img, err = mutate.Config(img, c); err != nil {
		t.Fatal(err)
	}
	testImage.img, testImage.ref = img, push(t, "numeric", img)
	return testImage.img, testImage.ref
}

// service is a Service of the test app whose revision is NAME-VERSION.
func service(name, version, image string, env ...string) *servingv1.Service {
	svc := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	svc.Spec.Template.Name = name + "-" + version
	svc.Spec.Template.Annotations = map[string]string{"serving.knative.dev/progress-deadline": "3m"}
	c := corev1.Container{Image: image, Env: []corev1.EnvVar{{Name: "VERSION", Value: version}}}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: k, Value: v})
	}
	svc.Spec.Template.Spec.Containers = []corev1.Container{c}
	seconds := int64(15) // a Pod that is to end gets as long as a request may take
	svc.Spec.Template.Spec.TimeoutSeconds = &seconds
	return svc
}

// roll rolls a Service out and returns what was told.
func roll(t *testing.T, p deploy.Platform, svc *servingv1.Service) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var b bytes.Buffer
	_, err := deploy.Rollout(ctx, p, deploy.Plan{Service: svc, Log: app.NewLog(&b), Check: deploy.Check{Timeout: time.Minute}})
	return b.String(), err
}

func apply(t *testing.T, c *kube.Client, gvr schema.GroupVersionResource, obj runtime.Object) {
	t.Helper()
	if _, _, err := c.Apply(t.Context(), gvr, obj); err != nil {
		t.Fatalf("%s: %v", gvr.Resource, err)
	}
}

// clientAs is a client by a kubeconfig whose user is changed.
func clientAs(t *testing.T, change func(*clientcmdapi.AuthInfo, *clientcmdapi.Cluster)) *kube.Client {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range config.AuthInfos {
		for _, c := range config.Clusters {
			change(a, c)
		}
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Open(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// is makes the cluster take a client for another user.
func is(user string) func(*clientcmdapi.AuthInfo, *clientcmdapi.Cluster) {
	return func(a *clientcmdapi.AuthInfo, _ *clientcmdapi.Cluster) { a.Impersonate = user }
}

// edit changes a Service as kubectl edit does.
func edit(ctx context.Context, c *kube.Client, namespace, service string, change func(*servingv1.Service)) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		u, err := c.Resource(services, namespace).Get(ctx, service, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var svc servingv1.Service
		if err := kube.Into(u, &svc); err != nil {
			return err
		}
		change(&svc)
		if u, err = kube.Unstructured(&svc); err != nil {
			return err
		}
		_, err = c.Resource(services, namespace).Update(ctx, u, metav1.UpdateOptions{FieldManager: contract.Editor})
		return err
	})
}
