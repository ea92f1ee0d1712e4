package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
)

// TrafficOf is the traffic of an app.
type TrafficOf struct {
	App      string           `json:"app"`
	Split    *SplitBy         `json:"split,omitempty"` // where it was divided by hand
	Releases []ReleaseTraffic `json:"releases"`        // that get some, or are asked by requests
	Counted  bool             `json:"counted"`         // the figures of requests are known
	// Maintenance says that clients get the page of maintenance, or wait, instead.
	Maintenance bool `json:"maintenance"`
}

// SplitBy is who divided the traffic.
type SplitBy struct {
	Key string    `json:"key"`
	At  time.Time `json:"at"`
}

// ReleaseTraffic is the part of one release.
type ReleaseTraffic struct {
	Version   int       `json:"version"` // 0 where no release is known to have the revision
	State     app.State `json:"state,omitempty"`
	Revision  string    `json:"revision"`
	Percent   int64     `json:"percent"`
	InFlight  int       `json:"inFlight"`
	PerSecond float64   `json:"requestsPerSecond"` // in the second before
	Requests  int64     `json:"requests"`          // since the data plane counts
	Errors    int64     `json:"errors"`            // of them with a status of 500 and above
}

// trafficSecond is how long the requests are counted for what comes in a second.
const trafficSecond = time.Second

// notLive is the error of what needs an app that runs, where the platform has nothing of it.
func notLive(name string, err error) error {
	if errors.Is(err, deploy.ErrStopped) {
		return app.Errorf(app.CodeNotFound, "start it: ps start "+name, "%s is stopped: nothing of it runs", name)
	}
	return app.Errorf(app.CodeNotFound, "push it first", "nothing of %s is live yet", name)
}

// Traffic shows which releases of an app get its traffic.
var Traffic = Operation[OfApp, TrafficOf]{
	Declaration{Name: "traffic", Args: "APP", Does: "Show which releases get the traffic, with their requests and 5xx", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (TrafficOf, error) {
		out := TrafficOf{App: c.app, Releases: []ReleaseTraffic{}}
		before, err := c.Platform.Counters(ctx, c.app)
		if errors.Is(err, deploy.ErrNotFound) {
			return out, notLive(c.app, err)
		}
		out.Counted = err == nil
		began := time.Now()
		if out.Counted {
			select {
			case <-time.After(trafficSecond):
			case <-ctx.Done():
				return out, ctx.Err()
			}
		}
		list, err := c.Platform.Describe(ctx, c.app)
		if err != nil {
			return out, err
		}
		after, err := c.Platform.Counters(ctx, c.app)
		out.Counted = out.Counted && err == nil
		seconds := time.Since(began).Seconds()
		releases, split, err := c.Machine.Serving(ctx, c.app)
		if err != nil {
			return out, err
		}
		on, err := c.Platform.Maintenance(ctx, c.app)
		if err != nil {
			return out, err
		}
		out.Maintenance = on != nil
		if split != nil {
			out.Split = &SplitBy{Key: split.Key, At: split.At}
		}
		for _, r := range list {
			if r.Percent == 0 && r.InFlight == 0 {
				continue
			}
			t := ReleaseTraffic{Revision: r.Name, Percent: r.Percent, InFlight: r.InFlight}
			for _, known := range releases {
				if known.Revision == r.Name {
					t.Version, t.State = known.Version, known.State
				}
			}
			if n := after[r.Name]; out.Counted {
				t.Requests, t.Errors = n.Requests, n.Errors
				t.PerSecond = float64(n.Since(before[r.Name]).Requests) / seconds
			}
			out.Releases = append(out.Releases, t)
		}
		return out, nil
	},
}

// DivideBy asks for a split of an app's traffic.
type DivideBy struct {
	OfApp
	Shares []store.Share
	Log    *app.Log
}

// Divide divides the traffic of an app between releases.
var Divide = Operation[DivideBy, struct{}]{
	Declaration{Name: "traffic", Args: "APP vN=PERCENT …", Does: "Divide the traffic between releases", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in DivideBy) (struct{}, error) {
		return struct{}{}, c.Machine.Divide(ctx, c.by, c.app, in.Shares, in.Log)
	},
}

// Aborted is what Abort ended.
type Aborted struct {
	App     string `json:"app"`
	Version int    `json:"version"` // 0 for a change of the traffic
	Live    int    `json:"live"`    // the release that serves; 0 for none
}

// Abort ends what is under way for an app.
var Abort = Operation[OfApp, Aborted]{
	Declaration{Name: "abort", Args: "APP", Does: "End the release that is under way; what was live keeps, or gets back, all the traffic", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (Aborted, error) {
		r, err := c.Machine.Abort(ctx, c.by, c.app)
		if err != nil {
			return Aborted{}, err
		}
		out := Aborted{App: c.app, Version: r.Version}
		live, err := c.Store.Ledger(c.app).Live(ctx)
		if err == nil {
			out.Live = live.Version
		} else if app.CodeOf(err) != app.CodeNotFound {
			return out, fmt.Errorf("v%d was aborted: %w", r.Version, err)
		}
		return out, nil
	},
}
