package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// jobTables keep what runs beside apps. due is set for jobs of schedules alone: a due time is claimed once, and tried again with another attempt.
const jobTables = `
CREATE TABLE jobs (
	app      TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	number   INTEGER NOT NULL,
	kind     TEXT NOT NULL,
	schedule TEXT NOT NULL,
	due      INTEGER,
	attempt  INTEGER NOT NULL,
	version  INTEGER NOT NULL,
	key      TEXT NOT NULL,
	command  TEXT NOT NULL,
	detached INTEGER NOT NULL,
	deadline INTEGER NOT NULL,
	started  INTEGER NOT NULL,
	ended    INTEGER NOT NULL,
	state    TEXT NOT NULL,
	status   INTEGER NOT NULL,
	signal   TEXT NOT NULL,
	reason   TEXT NOT NULL,
	PRIMARY KEY (app, number)
) STRICT;
CREATE UNIQUE INDEX jobs_by_due ON jobs (app, schedule, due, attempt) WHERE due IS NOT NULL;
CREATE INDEX jobs_under_way ON jobs (app, number) WHERE ended = 0;
`

// scheduleTable keeps up to when the due times of a schedule are decided: started, or noted as missed.
const scheduleTable = `
CREATE TABLE schedules (
	app     TEXT NOT NULL REFERENCES apps(name) ON DELETE CASCADE,
	name    TEXT NOT NULL,
	decided INTEGER NOT NULL,
	PRIMARY KEY (app, name)
) STRICT;
`

// KeptJobs is how many jobs of an app the ledger keeps, besides those under way.
const KeptJobs = 200

const (
	selectJob         = "SELECT app, number, kind, schedule, due, attempt, version, key, command, detached, deadline, started, ended, state, status, signal, reason, trace FROM jobs "
	queryJob          = selectJob + "WHERE app = ? AND number = ?"
	queryJobPage      = selectJob + "WHERE app = ? AND number < ? ORDER BY number DESC LIMIT ?"
	queryJobsUnderWay = selectJob + "INDEXED BY jobs_under_way WHERE ended = 0"
	queryJobsOpen     = "SELECT count(*) FROM jobs INDEXED BY jobs_under_way WHERE app = ? AND ended = 0"
	queryJobDue       = selectJob + "INDEXED BY jobs_by_due WHERE app = ? AND schedule = ? AND due IS NOT NULL ORDER BY due DESC, attempt DESC LIMIT ?"
	queryJobOld       = "SELECT number FROM jobs WHERE app = ? AND number <= ? AND ended <> 0 ORDER BY number LIMIT 100"
)

// EnterJob adds a job for caller, with the rights of this moment, unless most of the app's are under way already. It returns the job with its number. Where the
// job is a schedule's whose due time and attempt were entered before, the error has the code CodeExists.
func (s *Store) EnterJob(ctx context.Context, caller app.Caller, j app.Job, most int) (app.Job, error) {
	j.Key = cmp.Or(j.Key, caller.Name())
	err := s.change(ctx, func(tx *sql.Tx) error {
		if err := confirm(ctx, tx, caller, j.App, 0, app.VerbChange); err != nil {
			return err
		}
		var open int
		if err := tx.QueryRowContext(ctx, queryJobsOpen, j.App).Scan(&open); err != nil {
			return err
		}
		if open >= most && j.Ended.IsZero() {
			return app.Errorf(app.CodeLimitExceeded, "see them: gitd jobs "+j.App+"; end one: gitd jobs stop "+j.App+" jN", "%d jobs of %s are under way, and no more can be at once", open, j.App)
		}
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) + 1 FROM jobs WHERE app = ?", j.App).Scan(&j.Number); err != nil {
			return err
		}
		return insertJob(ctx, tx, j)
	})
	if taken(err) {
		return j, app.Errorf(app.CodeExists, "nothing to do", "the schedule %s of %s was started for this time already", j.Schedule, j.App)
	}
	return j, err
}

func insertJob(ctx context.Context, tx querier, j app.Job) error {
	command, err := json.Marshal(j.Command)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO jobs (app, number, kind, schedule, due, attempt, version, key, command, detached, deadline, started, ended, state, status, signal, reason, trace) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		j.App, j.Number, j.Kind, j.Schedule, sql.NullInt64{Int64: milli(j.Due), Valid: !j.Due.IsZero()}, j.Attempt, j.Version, j.Key, string(command), j.Detached, milli(j.Deadline), milli(j.Started), milli(j.Ended), j.State, j.Status, j.Signal, j.Reason, j.Trace)
	return err
}

// UpdateJob writes where a job is: its state, and how it ended. It returns the numbers of jobs that are older than those that are kept: they are gone now.
func (s *Store) UpdateJob(ctx context.Context, j app.Job) (gone []int, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE jobs SET state = ?, started = ?, ended = ?, status = ?, signal = ?, reason = ? WHERE app = ? AND number = ?",
			j.State, milli(j.Started), milli(j.Ended), j.Status, j.Signal, j.Reason, j.App, j.Number); err != nil {
			return err
		}
		gone, err = trimJobs(ctx, tx, j)
		return err
	})
	return gone, err
}

// trimJobs removes jobs that are too many. The newest due time of each schedule stays: what is due next is counted from it.
func trimJobs(ctx context.Context, tx querier, j app.Job) (gone []int, err error) {
	if j.Ended.IsZero() || j.Number <= KeptJobs {
		return nil, nil
	}
	if gone, err = column[int](ctx, tx, queryJobOld, j.App, j.Number-KeptJobs); err != nil {
		return nil, err
	}
	for _, n := range gone {
		if _, err := tx.ExecContext(ctx, "DELETE FROM jobs WHERE app = ? AND number = ?", j.App, n); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// Job returns one job, or an *app.Error with code CodeNotFound.
func (s *Store) Job(ctx context.Context, name string, number int) (app.Job, error) {
	all, err := s.jobs(ctx, queryJob, name, number)
	if err == nil && len(all) == 0 {
		return app.Job{}, app.Errorf(app.CodeNotFound, "see the jobs: gitd jobs "+name, "%s has no job j%d, or no longer", name, number)
	} else if err != nil {
		return app.Job{}, err
	}
	return all[0], nil
}

// Jobs returns at most limit jobs of an app, newest first: those with a number below before; 0 for the newest.
func (s *Store) Jobs(ctx context.Context, name string, before, limit int) ([]app.Job, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return s.jobs(ctx, queryJobPage, name, before, limit)
}

// JobsUnderWay returns the jobs of all apps that have not ended.
func (s *Store) JobsUnderWay(ctx context.Context) ([]app.Job, error) {
	return s.jobs(ctx, queryJobsUnderWay)
}

// JobsDue returns the last jobs of a schedule, by due time, the newest first.
func (s *Store) JobsDue(ctx context.Context, name, schedule string, limit int) ([]app.Job, error) {
	return s.jobs(ctx, queryJobDue, name, schedule, limit)
}

func (s *Store) jobs(ctx context.Context, query string, args ...any) ([]app.Job, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []app.Job
	for rows.Next() {
		var j app.Job
		var command string
		var due sql.NullInt64
		var deadline, started, ended int64
		if err := rows.Scan(&j.App, &j.Number, &j.Kind, &j.Schedule, &due, &j.Attempt, &j.Version, &j.Key, &command, &j.Detached, &deadline, &started, &ended, &j.State, &j.Status, &j.Signal, &j.Reason, &j.Trace); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(command), &j.Command); err != nil {
			return nil, err
		}
		j.Due, j.Deadline, j.Started, j.Ended = fromMilli(due.Int64), fromMilli(deadline), fromMilli(started), fromMilli(ended)
		all = append(all, j)
	}
	return all, rows.Err()
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
