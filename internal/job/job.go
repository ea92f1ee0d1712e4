// Package job runs processes beside apps, each once, in a container of its own from a release's image and configuration: what people ask for, what is due by a
// schedule, and release commands. Each has a line in the ledger.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Bounds of jobs.
const (
	DefaultTimeout = 24 * time.Hour     // of one for which no other is asked
	MaxTimeout     = 7 * 24 * time.Hour // that can be asked for
	atOnce         = 20                 // of one app
	logSize        = 1 << 20            // bytes of one log
	grace          = 10 * time.Second   // from SIGTERM to SIGKILL
	maxCommand     = 32 << 10           // bytes of a command and its variables, as it is kept
)

// Options configure a Manager.
type Options struct {
	Store    *store.Store
	Platform deploy.Platform
	LogDir   string           // logs of detached and scheduled jobs: LogDir/APP/jN.log
	Now      func() time.Time // time.Now
	Log      func(format string, args ...any)
	Events   Events // what takes the events of schedules; nil: there are none

	Metrics telemetry.Jobs
	Tracer  *telemetry.Tracer // nil: nothing is traced
}

// Manager runs jobs.
type Manager struct {
	o     Options
	ctx   context.Context // ends when the server stops
	stop  context.CancelCauseFunc
	tasks sync.WaitGroup

	mu       sync.Mutex // mu guards the following
	closed   bool
	attached map[key]context.CancelCauseFunc // ends one
	ends     map[key]end                     // how a detached one is ended that is being ended
}

type key struct {
	app    string
	number int
}

// end is why a job ends before its process does.
type end struct {
	state  app.JobState
	reason string
}

// New returns a Manager. Recover is called before the first job.
func New(o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Manager{o: o, attached: map[key]context.CancelCauseFunc{}, ends: map[key]end{}}
	m.ctx, m.stop = context.WithCancelCause(context.Background())
	return m
}

// Close ends what is attached to this process, and leaves detached jobs running.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop(app.Errorf(app.CodeUnavailable, "run it again in a moment", "the server is shutting down"))
	m.tasks.Wait()
}

// begin adds to what Close waits for.
func (m *Manager) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return context.Cause(m.ctx)
	}
	m.tasks.Add(1)
	return nil
}

// Request is a job that a person asks for.
type Request struct {
	App     string
	Version int      // of a release; 0 for the one that is live
	Type    string   // a process type, to which Command is added; "" where the first word of Command says what runs
	Command []string // a program or a process type, and its arguments
	Env     []string // "NAME=value", on top of the release's
	Detach  bool
	Timeout time.Duration // 0 for DefaultTimeout

	// Of one that is not detached.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       *deploy.Terminal
	Signals        <-chan string
}

// Run runs a job for by: to its end, or, where it is detached, until it has started. The error is an *app.Error where it could not run, or did not come to its end
// by itself.
func (m *Manager) Run(ctx context.Context, by app.Caller, q Request) (app.Job, deploy.Exit, error) {
	j, svc, spec, err := m.prepare(ctx, q)
	if err != nil {
		return j, deploy.Exit{}, err
	}
	if err := m.begin(); err != nil {
		return j, deploy.Exit{}, err
	}
	defer m.tasks.Done()
	j.Trace = m.newTrace()
	if j, err = m.o.Store.EnterJob(ctx, by, j, atOnce); err != nil {
		return j, deploy.Exit{}, err
	}
	if q.Detach {
		j, err := m.start(ctx, j, svc, spec)
		return j, deploy.Exit{}, err
	}
	spec.Stdin, spec.Stdout, spec.Stderr, spec.Terminal, spec.Signals = q.Stdin, q.Stdout, q.Stderr, q.Terminal, q.Signals
	return m.attach(ctx, j, svc, spec)
}

// prepare makes a job and what the platform is asked.
func (m *Manager) prepare(ctx context.Context, q Request) (j app.Job, svc *servingv1.Service, spec deploy.RunSpec, err error) {
	limit := q.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	if limit < time.Second || limit > MaxTimeout {
		return j, nil, spec, app.Errorf(app.CodeInvalidInput, "give it such a time: --timeout 2h", "a job's time limit is from 1s to %s", app.Elapsed(MaxTimeout))
	}
	r, svc, err := m.release(ctx, q.App, q.Version)
	if err != nil {
		return j, nil, spec, err
	}
	spec = deploy.RunSpec{Process: q.Type, Args: q.Command, Env: q.Env, Grace: grace}
	types := func(t string) bool { return hasType(r, t) }
	switch {
	case q.Type != "" && !types(q.Type):
		return j, nil, spec, noType(q.App, r, q.Type)
	case q.Type == "" && len(q.Command) == 0:
		return j, nil, spec, app.Errorf(app.CodeInvalidInput, "name it: gitd run "+q.App+" -- ls -l", "there is nothing to run: a command or a process type is missing")
	case q.Type == "" && types(q.Command[0]):
		spec.Process, spec.Args = q.Command[0], q.Command[1:]
	}
	if err := spec.Check(); err != nil {
		return j, nil, spec, err
	}
	size := 0
	for _, s := range append(slices.Clone(q.Command), q.Env...) {
		size += len(s)
	}
	if size > maxCommand {
		return j, nil, spec, app.Errorf(app.CodeLimitExceeded, "give it a file, or its standard input", "the command and its variables have more than %s", app.Size(maxCommand))
	}
	now := m.o.Now()
	j = app.Job{App: q.App, Kind: app.JobRun, Version: r.Version, Command: commandOf(spec), Detached: q.Detach, Started: now, Deadline: now.Add(limit), State: app.JobStarting}
	return j, svc, spec, nil
}

func hasType(r app.Release, t string) bool {
	return slices.ContainsFunc(r.Processes, func(p app.Process) bool { return p.Type == t })
}

// commandOf is what a job runs, as people write it.
func commandOf(s deploy.RunSpec) []string {
	if s.Process != "" {
		return append([]string{s.Process}, s.Args...)
	}
	return s.Args
}

func noType(name string, r app.Release, t string) error {
	var all string
	for i, p := range r.Processes {
		if i > 0 {
			all += ", "
		}
		all += p.Type
	}
	return app.Errorf(app.CodeNotFound, "choose one of: "+app.Plain(all), "v%d of %s has no process type %q", r.Version, name, app.Clip(t, 60))
}

// release returns a release with its Service: that of this version, or the one that is live.
func (m *Manager) release(ctx context.Context, name string, version int) (r app.Release, svc *servingv1.Service, err error) {
	ledger := m.o.Store.Ledger(name)
	if version == 0 {
		r, err = ledger.Live(ctx)
	} else {
		r, err = ledger.Find(ctx, version)
	}
	if err != nil {
		return r, nil, err
	}
	manifest, err := ledger.Service(ctx, r.Version)
	if err != nil {
		return r, nil, err
	}
	svc = new(servingv1.Service)
	if err := json.Unmarshal(manifest, svc); err != nil {
		return r, nil, fmt.Errorf("v%d of %s: %w", r.Version, name, err)
	}
	return r, svc, nil
}

// attach runs a job that ends with its client.
func (m *Manager) attach(ctx context.Context, j app.Job, svc *servingv1.Service, spec deploy.RunSpec) (app.Job, deploy.Exit, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(context.Cause(m.ctx)) })()
	k := key{j.App, j.Number}
	m.mu.Lock()
	m.attached[k] = cancel
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.attached, k)
		m.mu.Unlock()
	}()
	late := time.AfterFunc(j.Deadline.Sub(m.o.Now()), func() { cancel(timedOut(j)) })
	defer late.Stop()
	j.State = app.JobRunning
	m.update(&j)
	m.began(j)
	exit, err := m.o.Platform.Run(ctx, svc, spec)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	m.ended(&j, exit, err)
	return j, exit, err
}

// early is why a job is ended before its process ends.
type early struct {
	error
	state app.JobState
}

func (e early) Unwrap() error { return e.error }

func timedOut(j app.Job) error {
	return early{app.Errorf(app.CodeLimitExceeded, "give it more: --timeout", "the job j%d did not end within its time limit of %s", j.Number, app.Elapsed(j.Deadline.Sub(j.Started))), app.JobTimedOut}
}

// ended writes how a job ended: by err before its process did, or by itself.
func (m *Manager) ended(j *app.Job, exit deploy.Exit, err error) {
	j.Ended = m.o.Now()
	j.Status, j.Signal = exit.Code, exit.Signal
	var start *deploy.StartError
	var before early
	switch {
	case err == nil:
		j.State, j.Reason = stateOf(exit)
	case errors.As(err, &before):
		j.State, j.Reason = before.state, app.OneLine(err)
	case errors.As(err, &start):
		j.State, j.Reason = app.JobFailed, app.OneLine(err)
	default:
		j.State, j.Reason = app.JobCancelled, app.OneLine(err)
	}
	m.update(j)
}

func stateOf(e deploy.Exit) (state app.JobState, reason string) {
	switch {
	case e.Lost:
		return app.JobLost, "how it ended is not known: its machine went down, or what watched it was killed"
	case e.OutOfMemory:
		return app.JobFailed, "it was killed at its memory limit of " + e.Memory
	case e.Code != 0:
		return app.JobFailed, ""
	}
	return app.JobDone, ""
}

// update writes a job's line. Nothing that runs waits for a ledger that fails.
func (m *Manager) update(j *app.Job) {
	if !j.Ended.IsZero() {
		m.tell(j)
	}
	gone, err := m.o.Store.UpdateJob(context.WithoutCancel(m.ctx), *j)
	if err != nil {
		m.o.Log("jobs: j%d of %s: %v", j.Number, j.App, err, logged(*j))
		return
	}
	m.removeLogs(j.App, gone)
}
