package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/control"
	"github.com/gitd-io/gitd/internal/receive"
	"github.com/gitd-io/gitd/internal/sandbox"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
)

func serve() *cobra.Command {
	var o server.Options
	var ssh, http, memory, disk, cache, free, userCA, uids, indexer, platform string
	var modules, proxies []string
	var cluster server.Cluster
	var limits caps
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, q := range []struct {
				flag, text string
				to         *int64
			}{{"build-memory", memory, &o.Limits.Memory}, {"build-disk", disk, &o.Limits.Disk}, {"build-cache", cache, &o.Limits.Cache}, {"min-free", free, &o.MinFree}} {
				v, err := resource.ParseQuantity(q.text)
				if err != nil || v.Value() <= 0 {
					return app.Errorf(app.CodeInvalidInput, "give one such as 2Gi", "--%s: %q is not an amount of bytes", q.flag, q.text)
				}
				*q.to = v.Value()
			}
			if o.Builds < 0 {
				return app.Errorf(app.CodeInvalidInput, "give 1 or more, or leave it out", "--build-concurrency: %d builds at a time are not possible", o.Builds)
			}
			switch indexer {
			case "git":
				o.Indexer = receive.NewGitIndexer()
			case "gitd":
				o.Indexer = receive.NewPackIndexer()
			default:
				return app.Errorf(app.CodeInvalidInput, "use --indexer git or --indexer gitd", "there is no indexer %q", indexer)
			}
			var err error
			if uids != "" {
				if o.UIDs, err = sandbox.ParseUIDs(uids); err != nil {
					return err
				}
			}
			if o.UserCAs, err = readUserCAs(userCA); err != nil {
				return err
			}
			if o.ModulesFrom, err = networks("submodules-from", modules); err != nil {
				return err
			}
			if o.TrustedProxies, err = networks("trusted-proxies", proxies); err != nil {
				return err
			}
			if o.HTTPConnections < 0 || o.HTTPPerAddress < 0 {
				return app.Errorf(app.CodeInvalidInput, "give a number of connections, or leave it out", "--http-connections and --http-connections-per-address are not below 0")
			}
			switch platform {
			case "local":
				if flag := firstSet(cmd, clusterFlags); flag != "" {
					return app.Errorf(app.CodeInvalidInput, "add --platform knative, or leave it out", "--%s requires --platform knative", flag)
				}
			case "knative":
				if flag := firstSet(cmd, machineFlags); flag != "" {
					return app.Errorf(app.CodeInvalidInput, "leave it out", "--%s: on a cluster, its ingress takes the apps' requests", flag)
				}
				o.Cluster, http = &cluster, ""
			default:
				return app.Errorf(app.CodeInvalidInput, "use --platform local or --platform knative", "there is no platform %q", platform)
			}
			if err := limits.set(&o); err != nil {
				return err
			}
			return runServer(cmd.Context(), o, ssh, http)
		},
	}
	f := c.Flags()
	limits.flags(f, &o)
	f.StringVar(&o.Data, "data", defaultData, "folder for everything that gitd keeps")
	f.StringVar(&ssh, "ssh", ":2222", "address for SSH")
	f.StringVar(&http, "http", ":8080", "address for HTTP")
	f.StringSliceVar(&proxies, "trusted-proxies", nil, "network of the TLS proxies in front of --http: what they say in X-Forwarded-For, -Proto and -Host is believed (repeatable)")
	f.IntVar(&o.HTTPConnections, "http-connections", 0, "connections, and requests under way, of all clients (default: what descriptors and memory allow)")
	f.IntVar(&o.HTTPPerAddress, "http-connections-per-address", 0, "the same of one IPv4 address or IPv6 /64 (default: a quarter)")
	f.StringVar(&o.Domain, "domain", "localhost", "apps answer under APP.DOMAIN (on a cluster, Knative's own configuration says where)")
	f.StringVar(&o.Builder, "builder", "", "builder image: oci:DIR or a registry reference (default: our own, made at the first start)")
	f.IntVar(&o.Builds, "build-concurrency", 0, "builds at a time (default: one more than processors, as far as three quarters of the memory hold what --build-memory gives each; 32 on a cluster)")
	f.StringVar(&memory, "build-memory", "2Gi", "memory of a build")
	f.StringVar(&disk, "build-disk", "8Gi", "disk that a build may take, its cache included")
	f.StringVar(&cache, "build-cache", "2Gi", "what an app's build cache may keep")
	f.Int64Var(&o.Limits.Files, "build-files", 500_000, "files and folders that a build may make, its cache included; no more than a quarter of what fits on the disk")
	f.Int64Var(&o.Limits.CacheFiles, "build-cache-files", 250_000, "files and folders that an app's build cache may keep; no more than a tenth of what fits on the disk")
	f.DurationVar(&o.Limits.Time, "build-time", 0, "time of a build (default 15m)")
	f.StringVar(&free, "min-free", "512Mi", "free disk below which pushes are refused; one in fifty of its inodes is kept free too")
	f.StringVar(&userCA, "user-ca", "", "file with public keys, one a line, that may sign certificates of users")
	f.StringSliceVar(&modules, "submodules-from", nil, "network that submodules may be fetched from although it is this machine's own, or link-local (repeatable)")
	f.StringVar(&uids, "uids", "", fmt.Sprintf("user IDs of this machine, FIRST-LAST, one for each app (default: %d-%d)", sandbox.DefaultUIDs.First, sandbox.DefaultUIDs.Last))
	f.StringVar(&indexer, "indexer", "gitd", "what indexes pushed packs: gitd (in process, faster), or git (git index-pack)")
	f.StringVar(&platform, "platform", "local", "where apps are built and run: local (this machine), or knative (a Kubernetes cluster with Knative Serving)")
	f.StringVar(&cluster.Kubeconfig, "kubeconfig", "", "cluster: kubeconfig file (default: the service account in a Pod, else $KUBECONFIG or ~/.kube/config)")
	f.StringVar(&cluster.Context, "context", "", "cluster: context of the kubeconfig")
	f.StringVar(&cluster.Namespace, "namespace", "", "cluster: namespace of all apps (default: one each, app-NAME)")
	f.StringVar(&cluster.BuildNamespace, "build-namespace", "gitd-builds", "cluster: namespace of the Pods that build")
	f.StringVar(&cluster.Ingress, "ingress", "", "cluster: HOST:PORT of the ingress, where names of apps cannot be resolved from here")
	f.StringVar(&cluster.StorageClass, "cache-storage-class", "", "cluster: keep build caches in volumes of this class (default: as images in the registry)")
	f.StringVar(&cluster.Registry.Ref, "registry", "", "cluster: registry for images, such as registry.example.com/team (default: our own)")
	f.StringVar(&cluster.Registry.Config, "registry-config", "", "cluster: docker config.json with the credentials for --registry (default: the usual places)")
	f.BoolVar(&cluster.Registry.Insecure, "registry-insecure", false, "cluster: --registry speaks plain HTTP")
	f.StringVar(&cluster.Registry.Listen, "registry-listen", ":5000", "cluster: address of our own registry for nodes and Pods")
	f.StringVar(&cluster.Registry.Cert, "registry-cert", "", "cluster: PEM file with the certificate of our own registry (default: it speaks plain HTTP)")
	f.StringVar(&cluster.Registry.Key, "registry-key", "", "cluster: PEM file with its key")
	f.StringVar(&cluster.Registry.Pull, "registry-pull", "", "cluster: HOST:PORT under which nodes reach our own registry")
	f.StringVar(&cluster.Registry.Push, "registry-push", "", "cluster: HOST:PORT under which Pods reach our own registry (default: as nodes do)")
	o.Timings = os.Getenv("GITD_TIMINGS") != ""
	return c
}

// clusterFlags are those that mean something on a cluster only.
var clusterFlags = []string{"kubeconfig", "context", "namespace", "build-namespace", "ingress", "cache-storage-class", "registry", "registry-config",
	"registry-insecure", "registry-listen", "registry-cert", "registry-key", "registry-pull", "registry-push"}

// machineFlags are those that mean something on one machine only.
var machineFlags = []string{"http", "trusted-proxies", "http-connections", "http-connections-per-address", "uids"}

// firstSet returns the first of these flags that was given; "" where none was.
func firstSet(cmd *cobra.Command, flags []string) string {
	for _, f := range flags {
		if cmd.Flags().Changed(f) {
			return f
		}
	}
	return ""
}

// networks reads the values of a flag: networks such as 10.1.2.0/24, or single addresses.
func networks(flag string, texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil && a.Zone() == "" {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, app.Errorf(app.CodeInvalidInput, "give one such as 10.1.2.0/24, or an address", "--%s: %q is not a network", flag, text)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

func runServer(ctx context.Context, o server.Options, sshAddress, httpAddress string) error {
	if os.Geteuid() != 0 && o.Cluster == nil {
		return app.Errorf(app.CodeUnavailable, "run it as root: sudo gitd serve", "gitd serve makes containers and network namespaces, and needs root for that")
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return err
	}
	o.Data = data
	// A log that nobody reads any more must not end the server. Caught, not ignored: what it starts would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the proxy makes much short-lived garbage on a small heap: 7 % more requests
	}
	logger := log.New(os.Stderr, "", log.LstdFlags)
	o.Log = logger.Printf
	o.Files = raiseFiles()
	var l server.Listeners
	names := []string{"ssh", "http"}
	if o.Cluster != nil {
		names = names[:1]
	}
	held, err := handedOver(names...)
	if err != nil {
		return err
	}
	if l.SSH = held["ssh"]; l.SSH == nil {
		if l.SSH, err = listen("ssh", sshAddress); err != nil {
			return err
		}
	}
	defer l.SSH.Close()
	if o.Cluster == nil {
		if l.HTTP = held["http"]; l.HTTP == nil {
			if l.HTTP, err = listen("http", httpAddress); err != nil {
				return err
			}
		}
		defer l.HTTP.Close()
		o.HTTPPort = l.HTTP.Addr().(*net.TCPAddr).Port
	}

	s, err := server.Open(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	if l.Control, err = control.Listen(filepath.Join(o.Data, server.Socket)); err != nil {
		return err
	}
	defer l.Control.Close()
	return s.Serve(ctx, l, control.NewServer(func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
		return s.Run(ctx, args, stdin, stdout, stderr)
	}), app.NewLog(os.Stdout))
}

func listen(what, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, app.Errorf(app.CodeUnavailable, fmt.Sprintf("stop what listens there (ss -ltnp shows it), or choose another: --%s ADDRESS", what),
			"the %s address %s is taken by another program", what, address)
	case errors.Is(err, syscall.EACCES):
		return nil, app.Errorf(app.CodeUnavailable, "run gitd as root, or choose a port above 1023", "no right to listen on the %s address %s", what, address)
	}
	return nil, app.Errorf(app.CodeUnavailable, fmt.Sprintf("give one such as --%s 127.0.0.1:8022", what), "cannot listen on the %s address %s: %w", what, address, err)
}
