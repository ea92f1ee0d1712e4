// Package cluster builds in Pods: the phases of the CNB lifecycle are containers of one Pod.
package cluster

import (
	"context"

	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/kube"
)

// Options configure an Engine.
type Options struct {
	Client    *kube.Client
	Namespace string // of the build Pods; it exists
	// Builder is the reference of the builder image, as nodes pull it, by digest.
	Builder string
	// RunImage is the reference of the run image, as a Pod reaches it.
	RunImage string
	// Helper is the reference of the image with gitd-pod, as nodes pull it.
	Helper string
	// Push is what a Pod puts before the repository of an image: "registry.example.com/team", "gitd-registry.gitd:5000".
	Push string
	// Insecure says that Push speaks plain HTTP.
	Insecure bool
	// Auth is a docker config.json for Push; nil where the registry asks nobody.
	Auth []byte
	// PullSecret is a docker config.json for the nodes; nil where the registry asks nobody.
	PullSecret []byte
	// StorageClass is that of the PersistentVolumeClaim that keeps an app's cache. "": the cache is an image in the registry.
	StorageClass string
	Log          func(format string, args ...any)
}

// Engine builds in Pods.
type Engine struct{ o Options }

var _ build.Builder = (*Engine)(nil)

// New returns an engine and removes the Pods that an earlier process left.
func New(ctx context.Context, o Options) (*Engine, error) { return nil, nil }

// Build implements build.Builder.
func (e *Engine) Build(ctx context.Context, r build.Request) (*build.Result, error) { return nil, nil }
