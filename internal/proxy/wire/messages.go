package wire

import (
	"net/netip"
	"time"

	"github.com/gitd-io/gitd/internal/telemetry/histogram"
)

// What frames are about. The first come from gitd.
const (
	KindSetup        Kind = iota + 1 // how to serve
	KindRevision                     // there is one
	KindInstances                    // those of a revision that take requests
	KindDropped                      // an instance has ended
	KindFailing                      // a revision's instances do not start
	KindClose                        // a revision takes no more; KindDone when it has answered all
	KindDrain                        // KindDone when a revision has no request
	KindRoutes                       // a part of the table
	KindCertificates                 // the same of certificates
	KindWhole                        // what was told since KindSetup is all that there is
	KindListen                       // the listeners, as descriptors
	KindAsk                          // KindCounts and KindDone, at once
	KindAnswer                       // of KindWanted
	KindLeave                        // take no more, answer what is there, and end

	KindHello  // the proxy's first; with its listeners
	KindDone   // what was asked for
	KindWake   // a revision at zero is asked for
	KindH2C    // a revision was found to speak only HTTP/2
	KindIdle   // an instance that takes no requests any more has none
	KindWanted // a certificate is asked for
	KindCounts // each second

	KindStay // from gitd, which ends: serve on for the next one, up to a time; KindDone when no request is passed to gitd any more
	KindHeld // from gitd: a descriptor that is at its end when the service is stopped
)

// lasting are the kinds that are the same in all versions.
func (k Kind) lasting() bool { return k == KindHello || k == KindLeave || k == KindDone }

// Hello is what a proxy says of itself.
type Hello struct {
	PID       int
	Version   int      // the newest that it speaks
	Oldest    int      `json:",omitempty"` // and the oldest; 0: it speaks no other
	Edition   string   // of the program
	Listeners []string // what the descriptors are
	Leaving   bool     `json:",omitempty"` // it takes no more, and no gitd can lead it
	Domain    string   `json:",omitempty"` // of the Setup
}

// Versions are those that it speaks.
func (h *Hello) Versions() Versions {
	if h.Oldest == 0 {
		return Versions{h.Version, h.Version}
	}
	return Versions{h.Version, h.Oldest}
}

// Setup is how to serve. It begins a whole: what is not named until KindWhole is no more.
type Setup struct {
	Trusted     []netip.Prefix
	Secure      *Secure // nil: there is no HTTPS
	Connections int
	PerAddress  int
	Proxies     []netip.Prefix
	Own         []string // hosts that gitd answers itself
	OwnAddress  string   // where it does: an address of a unix socket
	Drain       time.Duration
	Domain      string // what names of apps end with: for a gitd that keeps the setup
	Keep        bool   `json:",omitempty"` // the setup and the certificates stay as they are: a gitd for one command, which knows no settings
}

// Secure is HTTPS.
type Secure struct {
	Port   int
	Stay   bool
	HSTS   time.Duration
	Wanted bool
}

// Revision is one that there is. Key names it.
type Revision struct {
	Key, App, Name string
	Concurrency    int
	Timeout        time.Duration
	HTTP1, H2C     bool
	NoWeb          bool
}

// Instances are those of a revision that take requests: all, in place of those before. A descriptor of its network namespace comes with each that is not Known.
type Instances struct {
	Key string
	All []Instance
}

// Instance is one of them.
type Instance struct {
	ID      string
	H2C     bool
	Port    int
	Address netip.Addr // its outward one
	Known   bool       // this link has told it before
	Here    bool       // it is in the proxy's own namespace, and no descriptor comes
}

// Dropped is an instance that has ended.
type Dropped struct{ Key, ID string }

// Failing is what clients of a revision read whose instances do not start; "" where they wait again.
type Failing struct{ Key, Sentence string }

// Asked is a question about a revision, or about all. KindDone has the same number.
type Asked struct {
	Number uint64
	Key    string `json:",omitempty"`
	Counts bool   `json:",omitempty"`

	For time.Duration `json:",omitempty"` // of KindStay; of KindLeave: how long connections may go on, for a proxy that another one has taken over from
}

// Routes are changes to the table. A nil Route takes a name out.
type Routes struct {
	Hosts map[string]*Route   `json:",omitempty"`
	Named map[string][]Target `json:",omitempty"` // an empty one takes the name out
	More  bool                `json:",omitempty"` // the change goes on in the next frame
}

// Route is where the requests for a name go.
type Route struct {
	Split       []Target     `json:",omitempty"`
	Stopped     string       `json:",omitempty"`
	Sticky      bool         `json:",omitempty"`
	Maintenance *Maintenance `json:",omitempty"`
}

// Target is one revision of a split.
type Target struct {
	Key     string
	Percent int64
}

// Maintenance stands in front of a name.
type Maintenance struct {
	App  string
	Hold time.Duration
}

// Certificates are changes. A nil Certificate and an empty token take a name out.
type Certificates struct {
	ByName, Challenges map[string]*Certificate `json:",omitempty"`
	Tokens             map[string]string       `json:",omitempty"`
	More               bool                    `json:",omitempty"`
}

// Certificate is a chain, and its key in PKCS #8.
type Certificate struct {
	Chain [][]byte
	Key   []byte
}

// Listen says what the descriptors are: "http", "https", "inside".
type Listen struct{ Names []string }

// The listeners.
const (
	HTTP   = "http"
	HTTPS  = "https"
	Inside = "inside" // requests of gitd's own
)

// SplitHeader is, in requests on the listener Inside, the name of the split that they go by; without it they go by their host. No app gets it.
const SplitHeader = "Gitd-Split"

// HostHeader is, in requests that the proxy forwards to gitd, the one of gitd's hosts that they are for.
const HostHeader = "Gitd-Host"

// Wake says that a revision is asked for, and how many requests wait for it.
type Wake struct {
	Key      string
	InFlight int64
}

// H2C names a revision.
type H2C struct{ Key string }

// Wanted asks whether a certificate may come soon; Answer answers.
type Wanted struct {
	Number uint64
	Name   string
}

// Answer is that of a question with the same number.
type Answer struct {
	Number uint64
	Yes    bool
}

// Counts are those that have changed since the last.
type Counts struct {
	At           time.Duration // of the machine's clock that nothing sets
	Revisions    map[string]*Revisioned
	Refused      map[string]int64
	Open, Turned int64 // connections, and those that were turned away
}

// Revisioned is what a revision has counted since its proxy began.
type Revisioned struct {
	Busy     float64 // seconds that requests took, added up: its growth by the second is how many there were at once
	Requests float64
	InFlight int64
	Held     int64
	Classes  [6]int64
	Latency  []Count
	Duration histogram.Value
	Hold     histogram.Value
	Cold     histogram.Value

	Instances map[string]Instanced
}

// Count is the answers within a bound of latency, and not within a shorter one; 0 for no bound.
type Count struct {
	UpTo time.Duration
	N    int64
}

// Instanced is what an instance has.
type Instanced struct{ InFlight, Sockets int64 }
