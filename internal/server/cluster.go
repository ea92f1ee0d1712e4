package server

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative"
	"github.com/gitd-io/gitd/internal/kube"
	"github.com/gitd-io/gitd/internal/registry"
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
	Cert     string `json:"cert,omitempty"`   // our own: PEM file that makes Listen speak TLS; "": plain HTTP
	Key      string `json:"key,omitempty"`    // our own: of Cert
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
	c := s.o.Cluster
	kube.Version = command.Version
	client, err := kube.Open(c.Kubeconfig, c.Context)
	if err != nil {
		return nil, err
	}
	images, at, err := s.openImages(ctx)
	if err != nil {
		return nil, err
	}
	instance, err := s.instance()
	if err != nil {
		return nil, err
	}
	platform, err := knative.Open(ctx, knative.Options{
		Instance: instance, Client: client, Namespace: c.Namespace, Pull: at.pull, Ingress: c.Ingress, Images: images, Log: s.o.Log,
		PullConfig: func(app string) ([]byte, error) { return images.PullConfig(at.pullHost(), app) },
	})
	if err != nil {
		return nil, err
	}
	s.onClose(platform.Close)
	building := cluster.Options{
		Instance: instance, Client: client, Namespace: c.BuildNamespace, Images: images, Pull: at.pull, Push: at.push, Insecure: at.insecure,
		StorageClass: c.StorageClass, Dir: s.path("builds"), Log: s.o.Log,
	}
	return &site{
		platform: platform, images: images,
		removeCache: func(ctx context.Context, name string) error { return cluster.RemoveCache(ctx, building, name) },
		url:         func(name string) string { return clusterURL(platform, name) },
		where:       func(Listeners) string { return "apps at the cluster's ingress" },
		prepare: func(ctx context.Context, log *app.Log) (engine, error) {
			b, err := builder.Find(ctx, builder.Options{Ref: s.o.Builder, Log: log})
			if err != nil {
				return nil, err
			}
			with := building
			if with.Builder, err = cluster.Publish(ctx, b, images, log); err != nil {
				return nil, err
			}
			return cluster.New(ctx, with)
		},
	}, nil
}

// addresses are what the others call the registry: what stands before the repository of an image.
type addresses struct {
	pull, push string // nodes, Pods
	insecure   bool
}

func (a addresses) pullHost() string {
	host, _, _ := strings.Cut(a.pull, "/")
	return host
}

// openImages opens the registry that nodes and Pods reach as well.
func (s *Server) openImages(ctx context.Context) (registry.Images, addresses, error) {
	r := s.o.Cluster.Registry
	if r.Ref != "" {
		remote, err := registry.OpenRemote(registry.RemoteOptions{Prefix: r.Ref, Config: r.Config, Insecure: r.Insecure, State: s.path("images.json"), Log: s.o.Log})
		if err != nil {
			return nil, addresses{}, err
		}
		if err := remote.Check(ctx); err != nil {
			return nil, addresses{}, err
		}
		return remote, addresses{r.Ref, r.Ref, r.Insecure}, nil // Pull and Push are of our own, which config/ has set
	}
	if r.Pull == "" {
		return nil, addresses{}, app.Errorf(app.CodeInvalidInput,
			"give the address of this machine that nodes reach: --registry-pull HOST:PORT; or another registry: --registry registry.example.com/team",
			"where nodes pull images from is not known")
	}
	own, err := registry.OpenWith(ctx, registry.Options{Dir: s.path("registry"), Listen: r.Listen, CertFile: r.Cert, KeyFile: r.Key, MinFree: s.o.MinFree})
	if err != nil {
		return nil, addresses{}, err
	}
	s.onClose(own.Close)
	return own, addresses{r.Pull, cmp.Or(r.Push, r.Pull), r.Cert == ""}, nil
}

// clusterURL is what Knative says; before there is a Service, the app has none.
func clusterURL(p deploy.Platform, name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), urlTime)
	defer cancel()
	svc, err := p.Get(ctx, name)
	if err != nil || svc.Status.URL == nil {
		return "(no address yet)"
	}
	return svc.Status.URL.String()
}

// urlTime bounds how long somebody waits for an address.
const urlTime = 5 * time.Second
