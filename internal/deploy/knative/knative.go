// Package knative runs Services on a Kubernetes cluster with Knative Serving.
package knative

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
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
	// PullSecret is a docker config.json for the nodes; nil where the registry asks nobody.
	PullSecret []byte
	// Ingress is the host:port that takes requests for all apps. "": the host of each URL is resolved.
	Ingress string
	Log     func(format string, args ...any)
}

// Platform is a cluster.
type Platform struct {
	deploy.Platform
	o Options
}

// Wait bounds.
const readyTime = 10 * time.Minute

// Open checks that the cluster can do what gitd asks of it and returns the platform. The errors are *app.Error.
func Open(ctx context.Context, o Options) (*Platform, error) { return nil, nil }
