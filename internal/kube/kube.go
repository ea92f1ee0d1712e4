// Package kube is gitd's client for a Kubernetes cluster: one client for every resource, server-side apply, and readable errors.
//
// Requests are retried while the API server is away, for the time that their context sets (WithRetryTime); the caller is told once
// (app.WithNotice).
package kube

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitd-io/gitd/internal/app"
)

// FieldManager is the name under which gitd owns fields.
const FieldManager = "gitd"

// Version is gitd's own, for the user agent. The program sets it before it opens a client.
var Version = "dev"

// Client is a connection to a cluster as one user.
type Client struct {
	Config    *rest.Config
	Dynamic   dynamic.Interface
	REST      rest.Interface // for requests outside of resources: logs, attach, version. Paths are given in full with AbsPath
	Namespace string         // of the kubeconfig's context, or of the service account; "default" where neither names one
}

// The folder where Kubernetes puts a pod's service account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Open makes a client from a kubeconfig file and one of its contexts ("" for the current one). Without a file, it uses the service account
// of the pod that gitd runs in, and outside of a cluster the kubeconfig that kubectl would use. It sends no request.
func Open(kubeconfig, context string) (*Client, error) {
	config, namespace, source, err := load(kubeconfig, context)
	if err != nil {
		return nil, err
	}
	config.UserAgent = "gitd/" + Version
	config.QPS = -1 // the API server has its own fairness; a limit here only adds waits that are hard to explain
	config.Timeout = 0
	config.WarningHandler = rest.NoWarnings{} // warnings would go to standard error
	known := identity{address: config.Host, source: source, user: user(config)}
	known.expired = expiry(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &transport{next: next, identity: known} })
	d, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, misconfigured(source, err)
	}
	c := rest.CopyConfig(config)
	c.APIPath = "/"
	c.GroupVersion = &schema.GroupVersion{}
	c.NegotiatedSerializer = codecs()
	r, err := rest.UnversionedRESTClientFor(c)
	if err != nil {
		return nil, misconfigured(source, err)
	}
	return &Client{Config: config, Dynamic: d, REST: r, Namespace: cmp.Or(namespace, "default")}, nil
}

// codecs knows metav1 alone: what the API server says of an error is a Status, and all else that comes by Client.REST is read raw.
// client-go's own scheme has every type of Kubernetes, which costs a third of gitd's start.
func codecs() runtime.NegotiatedSerializer {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme).WithoutConversion()
}

func load(kubeconfig, context string) (config *rest.Config, namespace, source string, err error) {
	if kubeconfig == "" && context == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		if config, err = rest.InClusterConfig(); err == nil {
			b, _ := os.ReadFile(serviceAccount + "/namespace")
			return config, strings.TrimSpace(string(b)), "the pod's service account", nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	source = cmp.Or(kubeconfig, os.Getenv("KUBECONFIG"), clientcmd.RecommendedHomeFile)
	if kubeconfig != "" {
		if _, err := os.Stat(kubeconfig); err != nil {
			return nil, "", "", app.Errorf(app.CodeInvalidInput, "give the path of a kubeconfig file", "the kubeconfig %s cannot be read: %w", kubeconfig, err)
		}
	}
	deferred := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
	config, err = deferred.ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
			return nil, "", "", app.Errorf(app.CodeInvalidInput, "give a kubeconfig file with --kubeconfig, or run gitd in a pod of the cluster",
				"no cluster is configured: %s does not name one, and gitd does not run in one", source)
		}
		return nil, "", "", misconfigured(source, err)
	}
	namespace, _, _ = deferred.Namespace()
	return config, namespace, source, nil
}

func misconfigured(source string, err error) error {
	return app.Errorf(app.CodeInvalidInput, "correct the file; kubectl config view shows what is in it", "the kubeconfig %s is not usable: %w", source, err)
}

// identity is the cluster that a client talks to and the user that it is: what errors have to name.
type identity struct {
	address, source, user string
	expired               time.Time // when the client certificate ends; zero if there is none
}

// User returns the name that the cluster knows the client by; "gitd" where it does not say.
func (c *Client) User(ctx context.Context) string {
	review := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
	gvr := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	u, err := c.Dynamic.Resource(gvr).Create(ctx, &unstructured.Unstructured{Object: review}, metav1.CreateOptions{})
	if err != nil {
		return "gitd"
	}
	name, _, _ := unstructured.NestedString(u.Object, "status", "userInfo", "username")
	return cmp.Or(name, "gitd")
}
