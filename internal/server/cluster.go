package server

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
)

// Cluster says which cluster builds and runs the apps, and where its images are. It holds no secret.
type Cluster struct {
	Kubeconfig     string   `json:"kubeconfig,omitempty"` // file; "": the service account of the Pod, or the usual places
	Context        string   `json:"context,omitempty"`    // of the kubeconfig; "": its current one
	Namespace      string   `json:"namespace,omitempty"`  // of all apps; "": one each
	BuildNamespace string   `json:"buildNamespace"`
	Ingress        string   `json:"ingress,omitempty"`      // host:port that takes requests for all apps; "": their names are resolved
	StorageClass   string   `json:"storageClass,omitempty"` // of volumes for build caches; "": caches are images
	Registry       Registry `json:"registry"`
}

// Registry says where a cluster's images are.
type Registry struct {
	Ref      string `json:"ref,omitempty"`    // an external one, with a path prefix; "": our own
	Config   string `json:"config,omitempty"` // docker config.json for Ref; "": the usual places
	Insecure bool   `json:"insecure,omitempty"`
	Listen   string `json:"listen,omitempty"` // our own: address for nodes and Pods
	Pull     string `json:"pull,omitempty"`   // our own: host:port as nodes name it
	Push     string `json:"push,omitempty"`   // our own: host:port as Pods name it; "": as nodes
}

func (c *Cluster) name() string {
	if c == nil {
		return "local"
	}
	return "knative"
}

// openCluster puts together what builds and runs apps on a cluster.
func (s *Server) openCluster(ctx context.Context) (*site, error) {
	return nil, app.Errorf(app.Unavailable, "", "not yet")
}
