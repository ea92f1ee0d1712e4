package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

func TestProcessesOf(t *testing.T) {
	image := []app.Process{{Type: "web", Command: []string{"node", "bot.js"}}, {Type: "release"}, {Type: "worker"}, {Type: "clock"}, {Type: "console"},
		{Type: "bot", Command: []string{"node"}, Args: []string{"bot.js"}}, {Type: "migrate"}}
	for _, tt := range []struct {
		name, declared string
		image          []app.Process
		instances      string
		want, err      string
	}{
		{"NoProcfile", "", image, "", "web", ""},
		{"OfTheProcfile", "web release worker clock", image, "", "web worker clock", ""},
		{"NotInTheImage", "web other", image, "", "web", ""},
		{"Off", "web worker clock", image, "worker=0", "web clock", ""},
		{"On", "web worker", image, "console=1 worker=1", "web worker console", ""},
		{"Unknown", "web", image, "wroker=0", "", "io.gitd.processes.wroker: the image has no such process type (it has: web, release, worker, clock, console, bot, migrate)"},
		{"OneOff", "web console migrate worker", image, "", "web worker; console migrate", ""},
		{"OneOffOn", "web migrate", image, "migrate=1", "web migrate", ""},
		{"NoWeb", "worker", image[2:], "", "worker", ""},
		{"WebOff", "web worker", image, "web=0", "worker", ""},
		{"WebOfTheBuildpackBesideAWorker", "worker", image, "", "web worker", ""},
		{"WebOfTheBuildpackIsTheWorker", "bot", image, "", "bot", ""},
		{"WebOfTheProcfileIsAlsoAWorker", "web bot", image, "", "web bot", ""},
		{"WorkerOfTheBuildpack", "", image[2:], "", "worker", ""},
		{"WorkerOfTheBuildpackIsOff", "", image[2:], "worker=0", "", "nothing of the app would run"},
		{"Nothing", "release console", image[1:], "", "", "nothing of the app would run: the image has no process type web, and no worker (it has: release, worker"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := map[string]project.Process{}
			for entry := range strings.FieldsSeq(tt.instances) {
				name, number, _ := strings.Cut(entry, "=")
				n, err := strconv.ParseInt(number, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				said[name] = project.Process{Instances: &n}
			}
			p, err := processesOf(strings.Fields(tt.declared), tt.image, said)
			if tt.err != "" {
				if app.CodeOf(err) == app.CodeInternal || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Error(err)
				}
				return
			}
			got := deploy.WorkerTypes(p.workers)
			if p.web {
				got = append([]string{"web"}, got...)
			}
			all := strings.Join(got, " ")
			if len(p.oneOff) > 0 {
				all += "; " + strings.Join(p.oneOff, " ")
			}
			if err != nil || all != tt.want {
				t.Errorf("%q, %v", all, err)
			}
		})
	}
}

// workersOnly is a platform that only takes workers.
type workersOnly struct {
	deploy.Platform
	err   error
	calls []string
}

func (p *workersOnly) SetWorkers(_ context.Context, s *servingv1.Service, workers []deploy.Worker) error {
	p.calls = append(p.calls, s.Spec.Template.Name+": "+strings.Join(deploy.WorkerTypes(workers), " "))
	return p.err
}

// serviceOf returns the Service of a release with these workers.
func serviceOf(t *testing.T, r app.Release, workers ...string) *servingv1.Service {
	t.Helper()
	settings, err := project.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	var running []deploy.Worker
	for _, w := range workers {
		running = append(running, deploy.Worker{Type: w, Instances: 1})
	}
	s := newService(r, &build.Result{Repository: "hello", Digest: "sha256:1", Processes: []app.Process{{Type: "web"}}}, settings.Web, processes{web: true, workers: running})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The workers of a release are in its Service, so that a rollback and a restart find them; a failure to set them is reported, and does not end the release.
func TestDeployment_SetWorkers(t *testing.T) {
	p := &workersOnly{}
	m := newMachine(t, nil, func(o *Options) { o.Platform = p })
	r := app.Release{App: "hello", Version: 2, Revision: "hello-v2"}
	service := serviceOf(t, r, "worker", "clock")
	var b bytes.Buffer
	d := &deployment{m: m, release: r, log: app.NewLog(&b)}
	d.setWorkers(t.Context(), service)
	if !strings.Contains(b.String(), "-----> Workers: worker, clock\n") {
		t.Error(b.String())
	}
	manifest, err := json.Marshal(service)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.o.Store.EnsureApp(t.Context(), "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // v2 is the one
		if _, err := m.o.Store.AddRelease(t.Context(), app.Release{App: "hello"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.o.Store.AddEvent(t.Context(), "hello", 2, store.Event{State: app.StateStarting, Revision: "hello-v2", Service: manifest}); err != nil {
		t.Fatal(err)
	}
	m.resumeWorkers(t.Context(), r)
	service = serviceOf(t, r)
	b.Reset()
	d.setWorkers(t.Context(), service)
	if b.Len() > 0 {
		t.Error(b.String())
	}
	if want := []string{"hello-v2: worker clock", "hello-v2: worker clock", "hello-v2: "}; !slices.Equal(p.calls, want) {
		t.Errorf("%q", p.calls)
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{app.Errorf(app.CodeUnavailable, "try again", "no room"), " !     the app is live, but its workers are not set: no room\n       try again\n"},
		{errors.New("a secret path"), " !     the app is live, but its workers are not set: internal error\n"},
	} {
		b.Reset()
		p.err = tt.err
		d.setWorkers(t.Context(), service)
		if !strings.HasPrefix(b.String(), tt.want) {
			t.Error(b.String())
		}
	}
}

// applied is a platform that holds one Service, and notes what is done to it.
type applied struct {
	workersOnly
	service     *servingv1.Service
	away, start error // of Get and Apply
}

func (p *applied) Get(context.Context, string) (*servingv1.Service, error) { return p.service, p.away }

func (p *applied) Maintenance(context.Context, string) (*deploy.Maintenance, error) { return nil, nil }

func (p *applied) Apply(_ context.Context, s *servingv1.Service) error {
	p.calls = append(p.calls, "apply "+s.Spec.Template.Name)
	return p.start
}

func (p *applied) DeleteRevision(_ context.Context, _, revision string) error {
	p.calls = append(p.calls, "delete "+revision)
	return nil
}

// shifting leaves v2 of the app hello, with a worker more than v1, in the state in which traffic shifts to it.
func shifting(t *testing.T, m *Machine, p *applied) {
	t.Helper()
	if _, err := m.o.Store.CreateApp(t.Context(), "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		revision string
		workers  []string
		states   []app.State
	}{{"hello-v1", []string{"worker"}, []app.State{app.StateShifting, app.StateLive}}, {"hello-v2", []string{"worker", "clock"}, []app.State{app.StateShifting}}} {
		r, err := m.o.Store.AddRelease(t.Context(), app.Release{App: "hello", Commit: strings.Repeat("1", 40), Ref: "refs/heads/main", Key: "dev"})
		if err != nil {
			t.Fatal(err)
		}
		r.Revision = v.revision
		p.service = serviceOf(t, r, v.workers...)
		manifest, err := json.Marshal(p.service)
		if err != nil {
			t.Fatal(err)
		}
		d := &deployment{m: m, release: r}
		events := []store.Event{{State: app.StateStarting, Revision: v.revision, Service: manifest}}
		for _, s := range v.states {
			events = append(events, store.Event{State: s})
		}
		for _, e := range events {
			if err := d.to(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The server stopped while traffic shifted to v2: after a restart the workers are those of the version that has the traffic.
// A platform that fails does not keep the server from starting.
func TestMachine_RecoverSetsWorkers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		percent int64 // of v2
		away    error
		start   error
		state   app.State
		calls   []string
	}{
		{"AllOfIt", 100, nil, nil, app.StateLive, []string{"hello-v2: worker clock"}},
		{"NotAllOfIt", 50, nil, nil, app.StateFailed, []string{"apply hello-v1", "hello-v1: worker", "delete hello-v2"}},
		{"TheLiveOneDoesNotRun", 50, nil, &deploy.StartError{Reason: deploy.Exited, ExitCode: 7}, app.StateFailed, []string{"apply hello-v1", "hello-v1: worker", "delete hello-v2"}},
		{"NotApplied", 50, nil, errors.New("refused"), app.StateShifting, []string{"apply hello-v1"}},
		{"Away", 50, errors.New("no answer"), nil, app.StateShifting, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &applied{away: tt.away, start: tt.start}
			m := newMachine(t, nil, func(o *Options) { o.Platform = p })
			shifting(t, m, p)
			p.service.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "hello-v2", Percent: &tt.percent}}
			if err := m.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if all := ledger(t, m, "hello"); all[1].State != tt.state || !slices.Equal(p.calls, tt.calls) {
				t.Errorf("%s, %q", all[1].State, p.calls)
			}
		})
	}
}
