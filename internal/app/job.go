package app

import "time"

// JobKind is where a job comes from.
type JobKind string

// The kinds of jobs.
const (
	JobRun      JobKind = "run"      // asked for by a person
	JobSchedule JobKind = "schedule" // due by a schedule of a release
	JobRelease  JobKind = "release"  // the release command of a push
)

// JobState is where a job is in its life.
type JobState string

// The states of a job. All but the first two are ends.
const (
	JobStarting  JobState = "starting"
	JobRunning   JobState = "running"
	JobDone      JobState = "done"      // status 0
	JobFailed    JobState = "failed"    // another status, or it did not start
	JobStopped   JobState = "stopped"   // on request
	JobCancelled JobState = "cancelled" // its client went away, or the server stopped
	JobTimedOut  JobState = "timed out"
	JobLost      JobState = "lost"   // how it ended is not known
	JobMissed    JobState = "missed" // a due time of a schedule at which nothing was started
)

// Job is a process that runs beside an app, once, in a container of its own.
type Job struct {
	App      string
	Number   int // 1, 2, … within the app
	Kind     JobKind
	Schedule string    // name of the schedule; "" for none
	Due      time.Time // of a schedule's
	Attempt  int       // 0, and then for each time that a schedule's job is tried again
	Version  int       // of the release that it runs
	Key      string    // who asked for it
	Command  []string  // a process type, or a program, with its arguments
	Detached bool      // it outlives its client and the server
	Deadline time.Time // when it is ended
	Started  time.Time
	Ended    time.Time // zero while it runs
	State    JobState
	Status   int    // as shells tell it
	Signal   string // in words; "" where it exited
	Reason   string // why it ended, where the state does not say it all
	Trace    string // ID of its trace, 32 hex digits; "" for none
}
