// Package knative_test tests gitd's platform on a real cluster, which environment variables name (make test-cluster sets them).
package knative_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app/apptest"
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

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"KUBECONFIG": kubeconfig, "GITD_CLUSTER_INGRESS": ingress, "GITD_CLUSTER_REGISTRY": pushTo, "GITD_CLUSTER_DOMAIN": domain} {
		if value == "" {
			fmt.Fprintf(os.Stderr, "%s is not set: these tests need a cluster. Run make test-cluster, or make cluster and then what it prints.\n", name)
			os.Exit(1)
		}
	}
	pullFrom = cmp.Or(pullFrom, pushTo)
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "5") // they wait for the cluster, most of the time
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

// newNamespace makes a namespace that goes with the test.
func newNamespace(t testing.TB, c *kube.Client, prefix string) string {
	t.Helper()
	name := prefix + "-" + strings.ToLower(rand.Text()[:6])
	ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
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
	return knative.Options{Client: c, Namespace: namespace, Pull: pullFrom, Ingress: ingress, Log: apptest.Logger(t)}
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
