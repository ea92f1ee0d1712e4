package operation

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// AppSummary is one app of a list.
type AppSummary struct {
	Name       string    `json:"name"`
	Owner      string    `json:"owner,omitempty"`      // name of the key that created it; "" for root
	Parent     string    `json:"parent,omitempty"`     // of a preview: the app
	URL        string    `json:"url,omitempty"`        // "" for one that runs workers alone
	Live       int       `json:"live,omitempty"`       // version that serves; 0 for none
	UnderWay   int       `json:"underWay,omitempty"`   // version of the release under way; 0 for none
	State      app.State `json:"state,omitempty"`      // of the release under way
	Stopped    bool      `json:"stopped,omitempty"`    // by ps stop
	Maintained bool      `json:"maintained,omitempty"` // maintenance is on; known while the server runs
	Trouble    string    `json:"trouble,omitempty"`    // which instances do not stay up: "worker: out of memory"; known while the server runs
}

// standing is how all apps stand: what is live of each, and which are stopped.
func (c call) standing(ctx context.Context) (may []app.App, at map[string]store.Standing, stops map[string]store.Stop, err error) {
	if may, err = c.Store.AppsFor(ctx, c.by, ShowApp.Verb); err != nil {
		return nil, nil, nil, err
	}
	if at, err = c.Store.Standings(ctx); err != nil {
		return nil, nil, nil, err
	}
	stops, err = c.Store.Stops(ctx)
	return may, at, stops, err
}

// AllApps asks for the apps.
type AllApps struct {
	OfServer
	Previews bool // with their previews
}

// Apps lists the apps that the caller may read.
var Apps = Operation[AllApps, []AppSummary]{
	Declaration{Name: "apps", Does: "List the apps", Verb: app.VerbUse, Needs: NeedsStore},
	func(ctx context.Context, c call, in AllApps) ([]AppSummary, error) {
		all, standings, stops, err := c.standing(ctx)
		if err != nil {
			return nil, err
		}
		troubles, maintained := c.runningNow(ctx)
		list := []AppSummary{}
		for _, a := range all {
			if a.Parent != "" && !in.Previews {
				continue
			}
			at := standings[a.Name]
			s := AppSummary{Name: a.Name, Owner: a.Owner, Parent: a.Parent, URL: c.URL(a.Name), Live: at.Live}
			if at.NoWeb {
				s.URL = ""
			}
			_, s.Stopped = stops[a.Name]
			_, s.Maintained = maintained[a.Name]
			s.Trouble = troubles[a.Name]
			if at.Newest > 0 && !at.State.Final() {
				s.UnderWay, s.State = at.Newest, at.State
			}
			list = append(list, s)
		}
		return list, nil
	},
}

// Warnings are told with the list of apps to those who manage the server: what does not work where apps run, and what to do.
var Warnings = Operation[OfServer, []string]{
	Declaration{Name: "apps", Does: "List the apps", Verb: app.VerbManage, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfServer) ([]string, error) {
		if c.Services.Warnings == nil {
			return nil, nil
		}
		return c.Services.Warnings(ctx)
	},
}

// runningNow is what the platform knows of all apps, where there is one: which instances do not stay up, and which apps are maintained. A list of apps is
// worth having without.
func (c call) runningNow(ctx context.Context) (troubles map[string]string, maintained map[string]deploy.Maintenance) {
	if c.Platform == nil {
		return nil, nil
	}
	troubles, err := c.Platform.Troubles(ctx)
	maintained, failed := c.Platform.Maintained(ctx)
	if err = errors.Join(err, failed); err != nil && c.Log != nil {
		c.Log("apps: %v", err)
	}
	return troubles, maintained
}

// AppStatus is one app with what runs of it.
type AppStatus struct {
	Name      string           `json:"name"`
	URL       string           `json:"url,omitempty"` // "" for one that runs workers alone
	Revisions []RevisionStatus `json:"revisions"`
	Revision  string           `json:"revision,omitempty"` // name of the revision that is live; "" for none
	Workers   []WorkerStatus   `json:"workers,omitempty"`  // of it
}

// RevisionStatus is what runs of one revision.
type RevisionStatus struct {
	Name      string   `json:"name"`
	Percent   int64    `json:"percent"` // of the requests
	Tags      []string `json:"tags,omitempty"`
	Instances int      `json:"instances"` // ready ones
	InFlight  int      `json:"inFlight"`  // requests
}

// WorkerStatus is one instance of a worker.
type WorkerStatus struct {
	Type  string     `json:"type"`
	Name  string     `json:"name"`            // "worker.1"
	State string     `json:"state"`           // "running", "starting", "restarting", "finished" (ended with status 0, and is not started again)
	Since *time.Time `json:"since,omitempty"` // of its last start, while it runs
}

// ShowApp returns one app with its revisions.
var ShowApp = Operation[OfApp, AppStatus]{
	Declaration{Name: "apps", Args: "APP", Does: "Show an app with its revisions", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (AppStatus, error) {
		s := AppStatus{Name: c.app, URL: c.URL(c.app), Revisions: []RevisionStatus{}}
		revisions, err := c.Platform.Describe(ctx, c.app)
		if err != nil {
			if _, e := c.Platform.Get(ctx, c.app); e == nil {
				return s, err
			} // no Service yet: nothing was ever live
		}
		for _, r := range revisions {
			s.Revisions = append(s.Revisions, RevisionStatus(r))
		}
		var web bool
		if s.Revision, web, err = c.liveRevision(ctx); err != nil {
			return s, err
		}
		if !web {
			s.URL = ""
		}
		all, err := c.Platform.Instances(ctx, c.app, false)
		if errors.Is(err, deploy.ErrNotFound) {
			return s, nil
		}
		for _, in := range all {
			if in.Type != deploy.WebProcess {
				s.Workers = append(s.Workers, workerStatus(in))
			}
		}
		return s, err
	},
}

func workerStatus(in deploy.Instance) WorkerStatus {
	s := WorkerStatus{Type: in.Type, Name: in.Name, State: string(in.State)}
	if in.State == deploy.InstanceUp {
		s.State, s.Since = "running", &in.Since
	}
	return s
}

// liveRevision returns the name of the revision that is live, and whether it takes requests; "" and true for none.
func (c call) liveRevision(ctx context.Context) (revision string, web bool, err error) {
	ledger := c.Store.Ledger(c.app)
	live, err := ledger.Live(ctx)
	if app.CodeOf(err) == app.CodeNotFound {
		return "", true, nil
	} else if err != nil {
		return "", true, err
	}
	manifest, err := ledger.Service(ctx, live.Version)
	if err != nil {
		return "", true, err
	}
	var s servingv1.Service
	if err := json.Unmarshal(manifest, &s); err != nil {
		return "", true, err
	}
	return live.Revision, !deploy.WithoutWeb(&s.Spec.Template), nil
}

// CreateApp creates an app that belongs to the caller, and returns its name.
var CreateApp = Operation[OfApp, string]{
	Declaration{Name: "apps create", Args: "NAME", Does: "Create an app (the first push does so as well)", Verb: app.VerbCreate, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfApp) (string, error) {
		_, err := c.Store.CreateAppAs(ctx, c.by, c.app)
		return c.app, err
	},
}

// DestroyApp removes an app with everything it has, and returns its name.
var DestroyApp = Operation[OfApp, string]{
	Declaration{Name: "apps destroy", Args: "NAME", Does: "Remove an app: its instances, releases, images and repository", Verb: app.VerbDelete, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (string, error) {
		return c.app, c.Destroy(ctx, c.by, c.app)
	},
}
