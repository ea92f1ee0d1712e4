package stream

// Hold is the first argument of gitd-pod in the container that holds the requests of an app in maintenance; the second is JSON of a Holding.
const Hold = "hold"

// Holding says how requests are held, until gitd says where they go.
type Holding struct {
	Service   string `json:"service"`   // the app, for the page that those who waited in vain get
	Namespace string `json:"namespace"` // of its revisions
	Seconds   int    `json:"seconds"`   // that a request waits at most
}

// HoldVariable has what gitd says with HoldHeader, so that no client ends the wait.
const (
	HoldVariable = "GITD_HOLD_TOKEN"
	HoldHeader   = "Gitd-Hold-Token"
)

// Share is what a revision gets of the requests that were held: JSON of a list of them is what gitd sends at the end, by POST.
type Share struct {
	Revision string `json:"revision"`
	Percent  int64  `json:"percent"`
	HTTP2    bool   `json:"http2,omitempty"` // it speaks HTTP/2 alone
}
