// Package config says how a server is configured: one typed Config in groups, whose settings are each declared once (settings.go). A setting
// comes from a flag, the configuration file or the environment, in that order; help, documentation and messages are made from the declaration.
package config

import (
	"net/netip"
	"time"
)

// Config is the configuration of a server. Its fields are the groups of the configuration file.
type Config struct {
	Server    Server
	SSH       SSH
	HTTP      HTTP
	Git       Git
	Builds    Builds
	Limits    Limits
	Machine   Machine
	Cluster   Cluster
	Registry  Registry
	Domains   Domains
	Telemetry Telemetry
}

// Platform is where apps run.
type Platform string

// The platforms.
const (
	Local   Platform = "local"   // this machine
	Knative Platform = "knative" // a Kubernetes cluster with Knative Serving
)

// Server is what concerns the server as a whole.
type Server struct {
	Data      string // the data directory
	Domain    string // apps answer under APP.Domain
	Platform  Platform
	SecretKey string // file with the key of the apps' configuration; "": secret.key in Data
	MinFree   int64  // bytes of free disk below which pushes are refused
}

// SSH is how people push.
type SSH struct {
	Address string // to listen on
	UserCA  string // file with public keys that may sign certificates of users; "" for none
}

// HTTP is how requests reach the apps of one machine.
type HTTP struct {
	Address        string         // to listen on
	TrustedProxies []netip.Prefix // networks of peers whose X-Forwarded-* are believed
	Connections    int            // of all clients, and requests under way; 0: what descriptors and memory allow
	HTTPS          string         // to listen on for HTTPS; "" for none
	NoRedirect     bool           // requests over HTTP stay there
	HSTS           time.Duration  // for how long browsers are told to use HTTPS alone; 0: they are not told
	PerAddress     int            // the same for one IPv4 address or IPv6 /64; 0: a quarter of all
}

// Domains is how domains of apps' own are looked after.
type Domains struct {
	DNSServer string       // resolver that is asked, host:port; "": the system's
	Addresses []netip.Addr // where others reach this server; none: found out
	Issuer    Issuer       // of certificates
	DNS       string       // address to answer the DNS at, for proofs; "" for none
	ACME      ACMEOptions
}

// ACMEOptions are how certificates are obtained by ACME.
type ACMEOptions struct {
	Directories []string      // URLs of authorities, asked one after the other; none: Let's Encrypt's
	Email       string        // that authorities may write to
	Agree       bool          // to the terms of the authorities
	Roots       string        // file with roots that the directories' own certificates may have; "" for the system's alone
	Challenges  []string      // http-01, tls-alpn-01; none: both
	Every       time.Duration // how often certificates are looked at
}

// Issuer is who issues the certificates of names.
type Issuer string

// The issuers.
const (
	NoIssuer  Issuer = "none" // certificates are given as files
	OwnIssuer Issuer = "ca"   // an authority of one's own
	ACME      Issuer = "acme" // authorities that speak ACME
)

// Git is how pushes are received.
type Git struct {
	Indexer        string         // "gitd" or "git"
	SubmodulesFrom []netip.Prefix // networks that submodules may be fetched from although they are not public
}

// Builds is how images are built.
type Builds struct {
	Engine      string         // name of the build engine; "": the platform's own
	Builder     string         // builder image: "" for our own, "oci:DIR" or a registry reference
	ImagesFrom  []netip.Prefix // networks that ready images may be fetched from although they are not public
	Concurrency int            // builds at a time; 0: by the machine
	Memory      int64          // bytes of one build
	Disk        int64          // bytes of one build, its cache included
	Cache       int64          // bytes that an app's cache keeps
	Files       int64          // files and folders of one build, its cache included
	CacheFiles  int64          // files and folders that an app's cache keeps
	Time        time.Duration
}

// ByMachine stands for a limit that depends on the machine.
const ByMachine = -1

// Limits are what apps and keys may take. 0 is no limit.
type Limits struct {
	Memory     int64 // bytes of one instance, or ByMachine
	CPU        int64 // thousandths of a core, of one instance
	Scale      int64 // instances of an app
	MinScale   int64 // instances of an app that always run, its workers included
	KeyMemory  int64 // bytes of the instances that always run, of all apps of one key, or ByMachine
	AppsPerKey int   // apps that a key that is not an admin may own
	Previews   int   // of an app; 0 for none
}

// Machine is what concerns one machine that runs apps.
type Machine struct {
	UIDs     UIDs // of this machine, one for each app
	Prepared int  // most apps at zero that have a prepared instance
}

// Cluster says which cluster builds and runs the apps. Its JSON form is kept in data directories.
type Cluster struct {
	Kubeconfig     string `json:"kubeconfig,omitempty"` // file; "": the service account of the Pod, or the usual places
	Context        string `json:"context,omitempty"`    // of the kubeconfig; "": its current one
	Namespace      string `json:"namespace,omitempty"`  // of all apps; "": one each
	BuildNamespace string `json:"buildNamespace"`
	Ingress        string `json:"ingress,omitempty"`      // host:port that takes requests for all apps; "": their names are resolved
	StorageClass   string `json:"storageClass,omitempty"` // of volumes for build caches; "": caches are images
	// RouteTime is how long the ingress may take to route requests to a new release.
	RouteTime time.Duration `json:"-"`
}

// Registry says where a cluster's images are. Its JSON form is kept in data directories.
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

// Telemetry is what the server tells of itself.
type Telemetry struct {
	Metrics   string // address to listen on; "" for none
	Public    bool   // Metrics may be an address that others reach
	OTLP      string // URL of the collector that traces go to; "": the one of OpenTelemetry's own variables
	LogFormat LogFormat
}

// LogFormat is the form of the server's log.
type LogFormat string

// The forms of the log.
const (
	LogText LogFormat = "text" // lines for people
	LogJSON LogFormat = "json" // an object a line
)

// Default returns the configuration of a server that is told nothing.
func Default() Config { return NewSet().Config }
