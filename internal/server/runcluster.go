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
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative"
	"github.com/gitd-io/gitd/internal/event"
	eventing "github.com/gitd-io/gitd/internal/event/knative"
	"github.com/gitd-io/gitd/internal/kube"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/webhook"
)

// onCluster is the runner on a cluster.
type onCluster struct {
	s        *Server
	client   *kube.Client
	registry registry.Images
	at       addresses
	instance string
	knative  *knative.Platform
	brokers  *eventing.Platform
}

// openCluster opens what runs apps on a cluster.
func (s *Server) openCluster(ctx context.Context) (runner, error) {
	c := s.o.Config.Cluster
	kube.Version = command.Version
	r := &onCluster{s: s}
	var err error
	if r.client, err = kube.Open(c.Kubeconfig, c.Context); err != nil {
		return nil, err
	}
	if r.registry, r.at, err = s.openImages(ctx); err != nil {
		return nil, err
	}
	if r.instance, err = s.instance(); err != nil {
		return nil, err
	}
	r.brokers = eventing.Open(eventing.Options{
		Client: r.client, Namespace: cmp.Or(c.Namespace, eventsNamespace), Make: c.Namespace == "", NamespaceOf: func(app string) string { return r.knative.Namespace(app) }, Instance: r.instance, StorageClass: c.StorageClass, Log: s.o.Log, Rights: s.rights,
		Image: func(ctx context.Context) (string, error) {
			ref, err := cluster.PublishKeeper(ctx, r.registry)
			return r.at.pull + "/" + ref, err
		},
		PullConfig: func() ([]byte, error) { return r.registry.PullConfig(r.at.pullHost(), "") },
	})
	r.knative, err = knative.Open(ctx, knative.Options{
		Instance: r.instance, Client: r.client, Namespace: c.Namespace, Pull: r.at.pull, Ingress: c.Ingress, RouteTime: c.RouteTime, Images: r.registry, Config: s.config, Log: s.o.Log,
		Certificates: s.o.Config.Domains.Issuer != config.NoIssuer, Redirect: !s.o.Config.HTTP.NoRedirect,
		Events: eventsNamespace, Sink: r.brokers.KnownSink,
		Pod:        func(ctx context.Context) (string, error) { return cluster.PublishPod(ctx, r.registry) },
		PullConfig: func(app string) ([]byte, error) { return r.registry.PullConfig(r.at.pullHost(), app) },
	})
	if err != nil {
		return nil, err
	}
	s.onClose(r.knative.Close)
	return r, nil
}

// eventsNamespace is that of brokers and triggers where each app has a namespace of its own.
const eventsNamespace = "gitd-events"

func (r *onCluster) platform() deploy.Platform { return r.knative }

func (r *onCluster) warnings(ctx context.Context) ([]string, error) { return r.knative.Warnings(ctx) }

func (r *onCluster) images() images { return r.registry }

func (r *onCluster) events() event.Platform { return r.brokers }

func (r *onCluster) serve(Listeners) error { return nil }

func (r *onCluster) leave(context.Context, Listeners) {}

func (r *onCluster) entrance(Listeners) string { return "apps at the cluster's ingress" }

// url is what Knative says; before there is a Service, the app has none.
func (r *onCluster) url(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), urlTime)
	defer cancel()
	if u := r.knative.URL(ctx, name); u != nil {
		return u.String()
	}
	return "(no address yet)"
}

// takeRequests has them come in by way of a Knative Service.
func (r *onCluster) takeRequests(ctx context.Context) error {
	_, err := r.brokers.Door(ctx)
	return err
}

// webhookURL is where Knative has them come in.
func (r *onCluster) webhookURL(of, name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), urlTime)
	defer cancel()
	if to := r.brokers.KnownDoor(ctx); to != "" {
		return to + webhook.Path(of, name)
	}
	return ""
}

// own is what Knative says.
func (r *onCluster) own(ctx context.Context, name string) string {
	if u := r.knative.URL(ctx, name); u != nil {
		return u.Host
	}
	return ""
}

// urlTime bounds how long a command waits for an address.
const urlTime = 5 * time.Second

// clusterFactory makes the engine that builds in Pods.
func (s *Server) clusterFactory() engineFactory { return &clusterFactory{s, s.runner.(*onCluster)} }

type clusterFactory struct {
	s *Server
	r *onCluster
}

func (f *clusterFactory) options() cluster.Options {
	c, r := f.s.o.Config.Cluster, f.r
	return cluster.Options{
		Instance: r.instance, Client: r.client, Namespace: c.BuildNamespace, Images: r.registry, Pull: r.at.pull, Push: r.at.push, Insecure: r.at.insecure,
		StorageClass: c.StorageClass, Dir: f.s.path("builds"), Log: f.s.o.Log,
	}
}

func (f *clusterFactory) make(ctx context.Context, log *app.Log) (engine, error) {
	b, err := builder.Find(ctx, builder.Options{Ref: f.s.o.Config.Builds.Builder, Log: log})
	if err != nil {
		return nil, err
	}
	o := f.options()
	if o.Builder, err = cluster.Publish(ctx, b, f.r.registry, log); err != nil {
		return nil, err
	}
	return cluster.New(ctx, o)
}

func (f *clusterFactory) removeCache(ctx context.Context, name string) error {
	return cluster.RemoveCache(ctx, f.options(), name)
}

// addresses are how others reach the registry: what stands before the repository of an image.
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
	r := s.o.Config.Registry
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
	own, err := registry.OpenWith(ctx, registry.Options{Dir: s.path("registry"), Listen: r.Listen, CertFile: r.Cert, KeyFile: r.Key, MinFree: s.o.Config.Server.MinFree})
	if err != nil {
		return nil, addresses{}, err
	}
	s.onClose(own.Close)
	return own, addresses{r.Pull, cmp.Or(r.Push, r.Pull), r.Cert == ""}, nil
}
