package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/release"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Web is the process type that receives the requests.
const Web = deploy.WebProcess

// Processes are what runs of an app.
type Processes struct {
	App         string            `json:"app"`
	Live        int               `json:"live,omitempty"`        // version that serves; 0 for none
	Stopped     *StoppedBy        `json:"stopped,omitempty"`     // where it was stopped
	Maintenance *MaintenanceOf    `json:"maintenance,omitempty"` // where it is on
	Types       []ProcessType     `json:"types"`
	Instances   []ProcessInstance `json:"instances"`
}

// StoppedBy is who stopped an app.
type StoppedBy struct {
	Key string    `json:"key"`
	At  time.Time `json:"at"`
}

// ProcessType is a process type of the live release, web first.
type ProcessType struct {
	Type   string `json:"type"`
	Min    int64  `json:"min"`           // instances that always run
	Max    int64  `json:"max"`           // most instances; of web, 0 for no bound but the machine's memory
	Set    bool   `json:"set,omitempty"` // by ps scale; else by the app's files, or the default
	Memory string `json:"memory,omitempty"`
	CPU    string `json:"cpu,omitempty"`
}

// Scale writes the number of instances as ps scale takes it: "web=1..10", "worker=2".
func (t ProcessType) Scale() string {
	return deploy.Scale{Type: t.Type, Min: t.Min, Max: t.Max}.String()
}

// ProcessInstance is one instance.
type ProcessInstance struct {
	Type     string               `json:"type"`
	Name     string               `json:"name"` // as in the log; "" for the next one of a web process whose instances do not stay up
	Revision string               `json:"revision"`
	Live     bool                 `json:"live"` // it is of the release that serves
	State    deploy.InstanceState `json:"state"`
	Since    *time.Time           `json:"since,omitempty"` // of its start, while it runs
	Restarts int                  `json:"restarts"`
	Memory   *int64               `json:"memory,omitempty"` // bytes, where it is known
	Limit    int64                `json:"memoryLimit,omitempty"`
	CPU      *float64             `json:"cpu,omitempty"` // cores
	LastExit *LastExit            `json:"lastExit,omitempty"`
}

// LastExit is how an instance ended by itself.
type LastExit struct {
	At     time.Time          `json:"at"`
	Reason deploy.StartReason `json:"reason"`
	Status int                `json:"status"`           // exit status
	Signal string             `json:"signal,omitempty"` // that ended it
	Text   string             `json:"text"`             // for people
}

// PS returns what runs of an app.
var PS = Operation[OfApp, Processes]{
	Declaration{Name: "ps", Args: "APP", Does: "Show what runs of an app: instances, their memory and CPU, and how they ended last", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (Processes, error) {
		p := Processes{App: c.app, Types: []ProcessType{}, Instances: []ProcessInstance{}}
		ledger := c.Store.Ledger(c.app)
		live, err := ledger.Live(ctx)
		if app.CodeOf(err) == app.CodeNotFound {
			return p, nil
		} else if err != nil {
			return p, err
		}
		manifest, err := ledger.Service(ctx, live.Version)
		if err != nil {
			return p, err
		}
		var s servingv1.Service
		if err := json.Unmarshal(manifest, &s); err != nil {
			return p, err
		}
		p.Live, p.Types = live.Version, processTypes(&s)
		if st, err := ledger.Stopped(ctx, live.Version); err != nil {
			return p, err
		} else if st != nil {
			p.Stopped = &StoppedBy{st.Key, st.At}
		}
		if on, err := c.Machine.Maintenance(ctx, c.app); err != nil && app.CodeOf(err) != app.CodeNotFound {
			return p, err
		} else if on != nil {
			m := maintenanceOf(c.app, on)
			p.Maintenance = &m
		}
		all, err := c.Platform.Instances(ctx, c.app, true)
		if err != nil && !errors.Is(err, deploy.ErrNotFound) {
			return p, err
		}
		for _, in := range all {
			p.Instances = append(p.Instances, processInstance(in, live.Revision))
		}
		slices.SortStableFunc(p.Instances, func(a, b ProcessInstance) int { // web first
			return cmp.Compare(boolInt(a.Type != deploy.WebProcess), boolInt(b.Type != deploy.WebProcess))
		})
		return p, nil
	},
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// processTypes are the process types of a Service.
func processTypes(s *servingv1.Service) []ProcessType {
	set := map[string]bool{}
	for _, e := range deploy.ScaleOf(s) {
		set[e.Type] = true
	}
	limits := s.Spec.Template.Spec.Containers[0].Resources.Limits
	all := []ProcessType{}
	add := func(w deploy.Worker, least, most int64) {
		t := ProcessType{Type: w.Type, Min: least, Max: most, Set: set[w.Type]}
		if w.Memory.IsZero() {
			w.Memory = *limits.Memory()
		}
		if w.CPU.IsZero() {
			w.CPU = *limits.Cpu()
		}
		t.Memory = w.Memory.String()
		if !w.CPU.IsZero() {
			t.CPU = w.CPU.String()
		}
		all = append(all, t)
	}
	if !deploy.WithoutWeb(&s.Spec.Template) {
		w := deploy.WebScale(s)
		add(deploy.Worker{Type: w.Type}, w.Min, w.Max)
	}
	running := deploy.Workers(s)
	for _, w := range running {
		add(w, w.Instances, w.Instances)
	}
	off := func(t string) bool {
		return t != deploy.WebProcess && !slices.ContainsFunc(all, func(p ProcessType) bool { return p.Type == t })
	}
	for _, w := range deploy.RecordedWorkers(s) {
		if off(w.Type) {
			add(w, 0, 0)
		}
	}
	for _, e := range deploy.ScaleOf(s) {
		if off(e.Type) {
			add(deploy.Worker{Type: e.Type}, 0, 0)
		}
	}
	return all
}

func processInstance(in deploy.Instance, live string) ProcessInstance {
	p := ProcessInstance{Type: in.Type, Name: in.Name, Revision: in.Revision, Live: in.Revision == live, State: in.State, Restarts: in.Restarts}
	if !in.Since.IsZero() {
		p.Since = &in.Since
	}
	if u := in.Usage; u != nil {
		p.Memory, p.CPU, p.Limit = &u.Memory, &u.CPU, u.Limit
	}
	if e := in.Ended; e != nil {
		p.LastExit = &LastExit{At: in.EndedAt, Reason: e.Reason, Status: e.ExitCode, Signal: e.Signal, Text: e.Words()}
	}
	return p
}

// ScaleOfApp asks for numbers of instances of process types.
type ScaleOfApp struct {
	OfApp
	Asks []string // "web=1..10", "worker=2", "worker=default"
	Log  *app.Log // is told the steps
}

// maxAsks is how many process types are scaled at once.
const maxAsks = 100

// Scale gives process types other numbers of instances.
var Scale = Operation[ScaleOfApp, app.Result]{
	Declaration{Name: "ps scale", Args: "APP TYPE=NUMBER...", Does: "Set how many instances of a process type there are, as a new release", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in ScaleOfApp) (app.Result, error) {
		if len(in.Asks) > maxAsks {
			return app.Result{}, app.Errorf(app.CodeInvalidInput, "scale fewer at once", "%d process types are more than %d", len(in.Asks), maxAsks)
		}
		var asks []release.ScaleAsk
		for _, text := range in.Asks {
			ask, err := release.ParseScale(text)
			if err != nil {
				return app.Result{}, err
			}
			asks = append(asks, ask)
		}
		return c.Machine.Scale(ctx, c.by, c.app, asks, in.Log)
	},
}

// OfProcess asks for something of an app, and maybe of one of its process types.
type OfProcess struct {
	OfApp
	Type string   // "" for all of the app
	Log  *app.Log // is told the steps
}

// Restart starts what runs afresh.
var Restart = Operation[OfProcess, app.Result]{
	Declaration{Name: "ps restart", Args: "APP [TYPE]", Does: "Start what runs afresh: web through the gate of a push, a worker in place", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in OfProcess) (app.Result, error) {
		if in.Type == "" || in.Type == Web {
			return c.Machine.Redeploy(ctx, c.by, c.app, in.Log)
		}
		return app.Result{}, c.Machine.RestartWorker(ctx, c.by, c.app, in.Type, in.Log)
	},
}

// Stop ends all instances of an app.
var Stop = Operation[OfProcess, app.Result]{
	Declaration{Name: "ps stop", Args: "APP", Does: "End all instances of an app: nothing starts one until ps start or a release", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in OfProcess) (app.Result, error) {
		return app.Result{}, c.Machine.Stop(ctx, c.by, c.app, in.Log)
	},
}

// Start ends a stop.
var Start = Operation[OfProcess, app.Result]{
	Declaration{Name: "ps start", Args: "APP", Does: "Run an app again that was stopped", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in OfProcess) (app.Result, error) {
		return app.Result{}, c.Machine.Start(ctx, c.by, c.app, in.Log)
	},
}
