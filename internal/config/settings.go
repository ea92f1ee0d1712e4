package config

import "time"

// Setting is one value of the configuration.
type Setting struct {
	Group, Key string   // its place in the file: Key in the table [Group]
	Flag       string   // its name on the command line; that in the environment is made from it
	Usage      string   // one line for the help and the documentation
	Default    string   // as text
	Computed   string   // what stands for a default in words, where Default does not say it
	Only       Platform // that it means something on; "" for all

	value
	source source
}

// group is a table of the file, with what the documentation says of it.
type group struct{ name, about string }

var groups = []group{
	{"server", "The server as a whole."},
	{"ssh", "How people push."},
	{"http", "How requests reach the apps. With `--platform local` only, but for `no-redirect`: on a cluster its ingress takes them."},
	{"git", "How pushes are received."},
	{"builds", "How images are built, and what one build may take."},
	{"limits", "What apps and keys may take. 0 is no limit."},
	{"machine", "The machine that runs the apps. With `--platform local` only."},
	{"cluster", "The cluster that runs the apps. With `--platform knative` only."},
	{"domains", "Domains of apps' own, beside APP.DOMAIN."},
	{"registry", "The registry of a cluster's images: gitd's own, or another one. With `--platform knative` only."},
	{"telemetry", "What the server tells of itself: [monitoring.md](monitoring.md)."},
}

// declared are all settings, bound to c. This is the one place where a setting is declared.
func declared(c *Config) []*Setting {
	all := [][]*Setting{c.Server.settings(), c.SSH.settings(), c.HTTP.settings(), c.Git.settings(), c.Builds.settings(), c.Limits.settings(),
		c.Machine.settings(), c.Cluster.settings(), c.Domains.settings(), c.Registry.settings(), c.Telemetry.settings()}
	var list []*Setting
	for i, g := range groups {
		for _, s := range all[i] {
			s.Group = g.name
			list = append(list, s)
		}
	}
	return list
}

func (c *Server) settings() []*Setting {
	return []*Setting{
		{Key: "data", Flag: "data", value: text("dir", &c.Data), Default: "/var/lib/gitd", Usage: "directory for everything that gitd keeps"},
		{Key: "domain", Flag: "domain", value: text("domain", &c.Domain), Default: "localhost",
			Usage: "apps answer under APP.DOMAIN: point a wildcard DNS record there (on a cluster, Knative's own configuration says where)"},
		{Key: "platform", Flag: "platform", value: choice(&c.Platform, Local, Knative), Default: "local",
			Usage: "where apps run: local (this machine), or knative (a Kubernetes cluster with Knative Serving)"},
		{Key: "secret-key", Flag: "secret-key", value: text("file", &c.SecretKey), Computed: "secret.key in the data directory",
			Usage: "file with the key that the apps' configuration is sealed with; it is made at the first use"},
		{Key: "min-free", Flag: "min-free", value: size(&c.MinFree), Default: "512Mi",
			Usage: "free disk below which pushes are refused; one in fifty of its inodes, at most 50,000, must be free too"},
	}
}

func (c *SSH) settings() []*Setting {
	return []*Setting{
		{Key: "address", Flag: "ssh", value: address(&c.Address), Default: ":2222", Usage: "address to listen on for SSH"},
		{Key: "user-ca", Flag: "user-ca", value: text("file", &c.UserCA),
			Usage: "file with public keys, one a line, that may sign certificates of users; a certificate's principal is the name of a registered key"},
	}
}

func (c *HTTP) settings() []*Setting {
	return []*Setting{
		{Key: "address", Flag: "http", value: address(&c.Address), Default: ":8080", Only: Local, Usage: "address to listen on for requests to the apps"},
		{Key: "https", Flag: "https", value: listener(&c.HTTPS), Computed: "none", Only: Local, Usage: "address to listen on for HTTPS, such as :443"},
		{Key: "no-redirect", Flag: "https-no-redirect", value: toggle(&c.NoRedirect), Default: "false",
			Usage: "answer requests over HTTP also for names that have a certificate, instead of sending them to HTTPS"},
		{Key: "hsts", Flag: "hsts", value: duration(&c.HSTS, 0), Default: "0s", Only: Local,
			Usage: "time for which browsers are told to use HTTPS alone for a name (Strict-Transport-Security), such as 8760h; apps may say otherwise"},
		{Key: "trusted-proxies", Flag: "trusted-proxies", value: networks(&c.TrustedProxies), Only: Local,
			Usage: "networks of the TLS proxies in front: their X-Forwarded-For, -Proto and -Host are believed"},
		{Key: "connections", Flag: "http-connections", value: count(&c.Connections), Default: "0", Computed: "what descriptors and memory allow", Only: Local,
			Usage: "connections, and requests under way, of all clients"},
		{Key: "connections-per-address", Flag: "http-connections-per-address", value: count(&c.PerAddress), Default: "0", Computed: "a quarter of all", Only: Local,
			Usage: "the same of one IPv4 address or IPv6 /64"},
	}
}

func (c *Git) settings() []*Setting {
	return []*Setting{
		{Key: "indexer", Flag: "indexer", value: choice(&c.Indexer, "gitd", "git"), Default: "gitd",
			Usage: "what indexes pushed packs: gitd (in process, faster), or git (git index-pack)"},
		{Key: "submodules-from", Flag: "submodules-from", value: networks(&c.SubmodulesFrom),
			Usage: "networks that submodules may be fetched from although they are this machine's own, or link-local"},
	}
}

func (c *Builds) settings() []*Setting {
	return []*Setting{
		{Key: "engine", Flag: "build-engine", value: text("name", &c.Engine), Computed: "the platform's: sandbox on one machine, cluster on Knative",
			Usage: "what builds: sandbox (containers of this machine), or cluster (Pods)"},
		{Key: "builder", Flag: "builder", value: text("image", &c.Builder), Computed: "our own, made at the first start",
			Usage: "builder image: oci:DIR or a registry reference of any CNB builder"},
		{Key: "concurrency", Flag: "build-concurrency", value: count(&c.Concurrency), Default: "0",
			Computed: "one more than processors, as far as three quarters of the memory hold --build-memory for each; 32 on a cluster", Usage: "builds at a time"},
		{Key: "images-from", Flag: "images-from", value: networks(&c.ImagesFrom),
			Usage: "networks that ready images (image deploy) may be fetched from although they are this machine's own, or link-local"},
		{Key: "memory", Flag: "build-memory", value: size(&c.Memory), Default: "2Gi", Usage: "memory of a build"},
		{Key: "disk", Flag: "build-disk", value: size(&c.Disk), Default: "8Gi", Usage: "disk that a build may take, its cache included"},
		{Key: "cache", Flag: "build-cache", value: size(&c.Cache), Default: "2Gi", Usage: "what an app's build cache may keep"},
		{Key: "files", Flag: "build-files", value: count(&c.Files), Default: "500000",
			Usage: "files and folders that a build may make, its cache included; at most a quarter of what fits on the disk"},
		{Key: "cache-files", Flag: "build-cache-files", value: count(&c.CacheFiles), Default: "250000",
			Usage: "files and folders that an app's build cache may keep; at most a tenth of what fits on the disk"},
		{Key: "time", Flag: "build-time", value: duration(&c.Time, 15*time.Minute), Default: "15m", Usage: "time that a build may take"},
	}
}

func (c *Limits) settings() []*Setting {
	return []*Setting{
		{Key: "memory", Flag: "max-memory", value: limit(&c.Memory), Computed: "half of the machine's, at least 512Mi; none on a cluster",
			Usage: "memory that an app may ask for, for an instance"},
		{Key: "cpu", Flag: "max-cpu", value: cores(&c.CPU), Default: "0", Usage: "cores that an app may ask for, for an instance, such as 2 or 500m"},
		{Key: "scale", Flag: "max-scale", value: count(&c.Scale), Default: "100", Usage: "instances that an app may ask for"},
		{Key: "min-scale", Flag: "max-min-scale", value: count(&c.MinScale), Default: "10",
			Usage: "instances of an app that may always run, its workers included"},
		{Key: "key-memory", Flag: "max-key-memory", value: limit(&c.KeyMemory), Computed: "as for --max-memory",
			Usage: "memory that the instances which always run may take together, of all apps of one key"},
		{Key: "apps-per-key", Flag: "max-apps-per-key", value: count(&c.AppsPerKey), Default: "100", Usage: "apps that a key that is not an admin may own"},
		{Key: "previews", Flag: "max-previews", value: count(&c.Previews), Default: "20", Usage: "previews that an app may have; beyond that the one pushed the longest time ago goes; 0 for none at all"},
	}
}

func (c *Machine) settings() []*Setting {
	return []*Setting{
		{Key: "uids", Flag: "uids", value: userIDs(&c.UIDs), Default: defaultUIDs.String(), Only: Local,
			Usage: "user IDs of this machine, FIRST-LAST, one for each app. Choose unused ones below 2097152: some build tools cannot write larger ones into tar files"},
		{Key: "prepared", Flag: "prepared", value: count(&c.Prepared), Default: "64", Only: Local,
			Usage: "apps at zero that have a prepared instance, so that their next request waits for the app alone: at most one for each 256 MiB of the machine's memory; 0 for none"},
	}
}

func (c *Cluster) settings() []*Setting {
	return []*Setting{
		{Key: "kubeconfig", Flag: "kubeconfig", value: text("file", &c.Kubeconfig), Only: Knative,
			Computed: "the service account in a Pod, else `$KUBECONFIG` or `~/.kube/config`", Usage: "kubeconfig file"},
		{Key: "context", Flag: "context", value: text("name", &c.Context), Only: Knative, Computed: "its current one", Usage: "context of the kubeconfig"},
		{Key: "namespace", Flag: "namespace", value: text("name", &c.Namespace), Only: Knative, Computed: "one for each app, app-NAME", Usage: "namespace of all apps"},
		{Key: "build-namespace", Flag: "build-namespace", value: text("name", &c.BuildNamespace), Default: "gitd-builds", Only: Knative,
			Usage: "namespace of the Pods that build"},
		{Key: "ingress", Flag: "ingress", value: text("host:port", &c.Ingress), Only: Knative, Computed: "the apps' names are resolved",
			Usage: "where gitd reaches apps for its check, where their names do not resolve, such as kourier.kourier-system.svc:80"},
		{Key: "route-time", Flag: "route-time", value: duration(&c.RouteTime, 2*time.Minute), Default: "2m", Only: Knative,
			Usage: "time that the cluster's ingress may take to route requests to a new release"},
		{Key: "cache-storage-class", Flag: "cache-storage-class", value: text("name", &c.StorageClass), Only: Knative, Computed: "caches are images in the registry",
			Usage: "keep build caches in volumes of this class"},
	}
}

func (c *Domains) settings() []*Setting {
	return []*Setting{
		{Key: "dns-server", Flag: "dns-server", value: resolver(&c.DNSServer), Computed: "the system's", Usage: "resolver that is asked where a domain leads"},
		{Key: "public-addresses", Flag: "public-address", value: addresses(&c.Addresses), Computed: "where APP.DOMAIN leads in the DNS, else the machine's own",
			Usage: "addresses at which others reach the apps, where domains must lead to"},
		{Key: "issuer", Flag: "issuer", value: choice(&c.Issuer, NoIssuer, OwnIssuer, ACME), Default: "none",
			Usage: "who issues the certificates of apps: none (they are given as files), ca (an authority of this server's own: gitd ca), or acme (Let's Encrypt and others)"},
		{Key: "acme-agree", Flag: "acme-agree", value: toggle(&c.ACME.Agree), Default: "false", Usage: "agree to the terms of the authorities of --acme-directory"},
		{Key: "acme-email", Flag: "acme-email", value: text("address", &c.ACME.Email), Computed: "none", Usage: "address that the authorities may write to"},
		{Key: "acme-directories", Flag: "acme-directory", value: list("url", &c.ACME.Directories, directory), Computed: "Let's Encrypt's",
			Usage: "directory of an authority that speaks ACME; of several the next is asked where one fails"},
		{Key: "acme-roots", Flag: "acme-roots", value: text("file", &c.ACME.Roots), Computed: "the system's", Usage: "file with the roots, in PEM, that a directory's own certificate may have"},
		{Key: "acme-challenges", Flag: "acme-challenge", value: list("challenge", &c.ACME.Challenges, challenge), Computed: "both",
			Usage: "how names are proven: http-01 (port 80 of the name leads here), tls-alpn-01 (its port 443 does)"},
		{Key: "renew-check", Flag: "renew-check", value: duration(&c.ACME.Every, 10*time.Minute), Default: "10m", Usage: "how often it is looked at whether a certificate is to be renewed"},
		{Key: "dns", Flag: "dns", value: listener(&c.DNS), Computed: "none", Usage: "address to answer the DNS at (UDP and TCP), such as :53, for _acme-challenge.DOMAIN: certificates for *.DOMAIN take it"},
	}
}

func (c *Registry) settings() []*Setting {
	return []*Setting{
		{Key: "prefix", Flag: "registry", value: text("ref", &c.Ref), Only: Knative, Computed: "our own", Usage: "registry for images, such as registry.example.com/team"},
		{Key: "config", Flag: "registry-config", value: text("file", &c.Config), Only: Knative, Computed: "`~/.docker/config.json` and its like",
			Usage: "docker config.json with the credentials for --registry"},
		{Key: "insecure", Flag: "registry-insecure", value: toggle(&c.Insecure), Default: "false", Only: Knative, Usage: "--registry speaks plain HTTP"},
		{Key: "listen", Flag: "registry-listen", value: address(&c.Listen), Default: ":5000", Only: Knative, Usage: "our own: address to listen on for nodes and Pods"},
		{Key: "cert", Flag: "registry-cert", value: text("file", &c.Cert), Only: Knative, Computed: "it speaks plain HTTP", Usage: "our own: PEM file with its certificate"},
		{Key: "key", Flag: "registry-key", value: text("file", &c.Key), Only: Knative, Usage: "our own: PEM file with the certificate's key"},
		{Key: "pull", Flag: "registry-pull", value: text("host:port", &c.Pull), Only: Knative, Usage: "our own: what nodes call it"},
		{Key: "push", Flag: "registry-push", value: text("host:port", &c.Push), Only: Knative, Computed: "as --registry-pull", Usage: "our own: what Pods call it"},
	}
}

func (c *Telemetry) settings() []*Setting {
	return []*Setting{
		{Key: "metrics", Flag: "metrics", value: listener(&c.Metrics), Computed: "no metrics", Usage: "address to listen on for Prometheus, such as 127.0.0.1:9469: GET /metrics"},
		{Key: "metrics-public", Flag: "metrics-public", value: toggle(&c.Public), Default: "false",
			Usage: "--metrics may be an address that others than this machine reach; everyone who reaches it can read the names and the load of all apps"},
		{Key: "otlp", Flag: "otlp", value: text("url", &c.OTLP), Computed: "`OTEL_EXPORTER_OTLP_ENDPOINT`, else no traces",
			Usage: "OpenTelemetry collector that takes traces over HTTP, such as http://127.0.0.1:4318"},
		{Key: "log-format", Flag: "log-format", value: choice(&c.LogFormat, LogText, LogJSON), Default: "text", Usage: "form of the server's log"},
	}
}
