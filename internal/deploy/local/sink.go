package local

import (
	"net"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// Where the instances of an app send events to: gitd listens there, on each instance's own loopback, so that who connects is the app.
const (
	sinkVariable = "K_SINK" // Knative's
	sinkURL      = "http://127.0.0.1:7769"
	sinkPort     = 7769
)

// sinkLimits bound what one instance may have open there.
var sinkLimits = dataplane.Limits{Connections: 16, PerAddress: 16}

// sink is what serves the listener of an instance; nil where there are no brokers.
func (r *revision) sink() func(net.Listener) {
	if r.p.opts.Sink == nil {
		return nil
	}
	return func(l net.Listener) {
		s := dataplane.NewServer(r.p.opts.Sink(r.service, r.appID()))
		_ = s.Serve(dataplane.Bound(l, sinkLimits)) // until the container ends
		_ = s.Close()
	}
}

// sinkAgain gives a container that an earlier process has started its way to the brokers again.
func (r *revision) sinkAgain(c *sandbox.Container) {
	serve := r.sink()
	if serve == nil {
		return
	}
	l, err := c.Listen(sinkPort)
	if err != nil {
		if !isDone(c) {
			r.p.opts.Log("deploy: %s cannot reach the brokers: %v", c.ID, err)
		}
		return
	}
	go serve(l)
}
