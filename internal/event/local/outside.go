package local

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/gitd-io/gitd/internal/clouds"
)

// outsideTime is how long a URL may take to answer where its trigger says nothing.
const outsideTime = 30 * time.Second

var errOwn = errors.New("gitd does not send to this address: it is this machine's own, or a cloud's")

// newOutside is a transport for URLs that strangers name.
func newOutside() *http.Transport {
	dialer := clouds.Dialer(nil, func(netip.Addr) error { return errOwn })
	return &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 4, MaxResponseHeaderBytes: 64 << 10}
}

// ask sends the request to its URL. A redirect is an answer like any other: it is not followed.
func (a *answer) ask(t http.RoundTripper, q *http.Request) {
	r, err := t.RoundTrip(q)
	if err != nil {
		a.failed = err.Error()
		return
	}
	defer r.Body.Close()
	a.header = r.Header
	a.WriteHeader(r.StatusCode)
	_, _ = io.Copy(a, r.Body) // the status counts
	a.noRoom()
}
