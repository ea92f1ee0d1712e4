// Package kube is how gitd talks to a Kubernetes cluster: one client for everything, server-side apply, and errors in words.
package kube

import (
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// FieldManager is the name under which gitd owns fields.
const FieldManager = "gitd"

// Client is a cluster, as one user of it.
type Client struct {
	Config    *rest.Config
	Dynamic   dynamic.Interface
	REST      rest.Interface // for what is no resource: logs, attach, version. Paths are given in full with AbsPath
	Namespace string         // of the kubeconfig's context, or of the service account; "default" where neither names one
}
