package operation

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/job"
)

// RunOf asks for a command to be run beside an app.
type RunOf struct {
	OfApp
	Version int      // of the release; 0 for the one that is live
	Type    string   // a process type, to which Command is added
	Command []string // a program or a process type, and its arguments
	Env     []string // "NAME=value"
	Detach  bool
	Timeout time.Duration // 0 for job.DefaultTimeout

	// Of one that is not detached.
	In       io.Reader
	Out, Err io.Writer
	Terminal *deploy.Terminal // nil for none
	Signals  <-chan string
}

// Ran is a job that was run, and how it ended; of a detached one, that it started.
type Ran struct {
	Job
	OutOfMemory string // the limit at which it was killed; "" where it was not
}

// MaxRun is how long a command may run.
const MaxRun = job.MaxTimeout

// Run runs a command in a container of its own, from a release's image and configuration.
var Run = Operation[RunOf, Ran]{
	Declaration{Name: "run", Args: "APP CMD…", Does: "Run a command in a container of its own, with the app's image and configuration", Verb: app.VerbChange, Needs: NeedsServer,
		Stdin: true, Interactive: true, Streams: true, Secret: true},
	func(ctx context.Context, c call, in RunOf) (Ran, error) {
		j, exit, err := c.Jobs.Run(ctx, c.by, job.Request{App: c.app, Version: in.Version, Type: in.Type, Command: in.Command, Env: in.Env, Detach: in.Detach, Timeout: in.Timeout,
			Stdin: in.In, Stdout: in.Out, Stderr: in.Err, Terminal: in.Terminal, Signals: in.Signals})
		return Ran{jobOf(j, true), exit.Memory}, err
	},
}

// Job is one line of the ledger of jobs.
type Job struct {
	ID       string       `json:"id"` // "j3"
	Kind     app.JobKind  `json:"kind"`
	Schedule string       `json:"schedule,omitempty"` // name of the schedule that it is of
	Due      *time.Time   `json:"due,omitempty"`      // when it was due by it
	Attempt  int          `json:"attempt,omitempty"`  // from 1, where it was tried again
	Release  int          `json:"release"`            // version of the release that it ran
	Key      string       `json:"key"`                // who asked for it
	Command  []string     `json:"command,omitempty"`  // what it ran; for those alone who may run it
	Detached bool         `json:"detached,omitempty"`
	Started  time.Time    `json:"started"`
	Ended    *time.Time   `json:"ended,omitempty"`
	Deadline time.Time    `json:"deadline"` // when it is ended
	State    app.JobState `json:"state"`
	Status   *int         `json:"status,omitempty"` // its exit status, as shells tell it
	Signal   string       `json:"signal,omitempty"` // that ended it, in words
	Reason   string       `json:"reason,omitempty"` // why it ended, where the state does not say it all
	Trace    string       `json:"trace,omitempty"`  // ID of its trace: 32 hexadecimal digits; none where nothing was traced
}

func jobOf(j app.Job, secrets bool) Job {
	o := Job{ID: fmt.Sprintf("j%d", j.Number), Kind: j.Kind, Schedule: j.Schedule, Attempt: j.Attempt, Release: j.Version, Key: j.Key, Detached: j.Detached, Started: j.Started,
		Deadline: j.Deadline, State: j.State, Signal: j.Signal, Reason: j.Reason, Trace: j.Trace}
	if secrets {
		o.Command = j.Command
	}
	if !j.Due.IsZero() {
		o.Due = &j.Due
	}
	if !j.Ended.IsZero() {
		o.Ended = &j.Ended
		if j.State != app.JobLost && j.State != app.JobMissed {
			o.Status = &j.Status
		}
	}
	return o
}

// JobsOf asks for jobs of an app, newest first.
type JobsOf struct {
	OfApp
	Before int // only those with a lower number; 0 for all
	Lines  int // how many, from 1 to MaxJobs
}

// How many jobs are returned at once: where nothing else is asked for, and at most.
const (
	DefaultJobs = 20
	MaxJobs     = 200
)

// Jobs lists the jobs of an app.
var Jobs = Operation[JobsOf, []Job]{
	Declaration{Name: "jobs", Args: "APP", Does: "List the jobs of an app, newest first", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, in JobsOf) ([]Job, error) {
		list := []Job{}
		if in.Lines < 1 || in.Lines > MaxJobs {
			return list, app.Errorf(app.CodeInvalidInput, "ask for fewer", "the number of jobs is not from 1 to %d", MaxJobs)
		}
		all, err := c.Store.Jobs(ctx, c.app, in.Before, in.Lines)
		secrets := c.mayRun(ctx)
		for _, j := range all {
			list = append(list, jobOf(j, secrets))
		}
		return list, err
	},
}

// mayRun says whether the caller may see the commands of jobs, which may hold secrets.
func (c call) mayRun(ctx context.Context) bool {
	return Run.permitted(ctx, c.Services, c.by, c.app) == nil
}

// OneJob asks for a job of an app.
type OneJob struct {
	OfApp
	Number int
}

// ShowJob returns one job.
var ShowJob = Operation[OneJob, Job]{
	Declaration{Name: "jobs show", Args: "APP JOB", Does: "Show a job", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, in OneJob) (Job, error) {
		j, err := c.Store.Job(ctx, c.app, in.Number)
		return jobOf(j, c.mayRun(ctx)), err
	},
}

// StopJob ends a job.
var StopJob = Operation[OneJob, Job]{
	Declaration{Name: "jobs stop", Args: "APP JOB", Does: "End a job: SIGTERM, and SIGKILL after 10 s", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneJob) (Job, error) {
		j, err := c.Jobs.Stop(ctx, c.by, c.app, in.Number)
		return jobOf(j, true), err
	},
}

// JobLogOf asks for what a job wrote.
type JobLogOf struct {
	OneJob
	Follow bool // until it ends
	Out    io.Writer
}

// JobLogs writes what a detached or scheduled job wrote.
var JobLogs = Operation[JobLogOf, struct{}]{
	Declaration{Name: "jobs logs", Args: "APP JOB", Does: "Show what a detached or scheduled job wrote", Verb: app.VerbRead, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in JobLogOf) (struct{}, error) {
		j, err := c.Store.Job(ctx, c.app, in.Number)
		if err == nil {
			err = c.Jobs.Logs(ctx, j, in.Follow, in.Out)
		}
		return struct{}{}, err
	},
}
