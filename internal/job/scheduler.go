package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/schedule"
)

// clock is who asks for scheduled jobs, in the ledger.
const clock = "schedule"

// maxNoted is how many missed due times of a schedule are noted one by one; those before them are noted together.
const maxNoted = 100

// scheduled is what is known of an app's schedules.
type scheduled struct {
	version int // of the release that they are of
	all     []schedule.Schedule
	times   []schedule.Times
}

// Schedules starts what is due, until the Manager is closed. It looks at the clock every so often, and at the apps when the minute has changed: nothing is due
// within one. Recover was called before.
func (m *Manager) Schedules(every time.Duration) {
	m.tasks.Go(func() {
		known := map[string]*scheduled{}
		var minute time.Time
		for {
			if now := m.o.Now(); !now.Truncate(time.Minute).Equal(minute) {
				minute = now.Truncate(time.Minute)
				if err := m.tick(m.ctx, known, now); err != nil && m.ctx.Err() == nil {
					m.o.Log("schedules: %v", err)
				}
			}
			select {
			case <-time.After(every):
			case <-m.ctx.Done():
				return
			}
		}
	})
}

// tick decides all due times up to now.
func (m *Manager) tick(ctx context.Context, known map[string]*scheduled, now time.Time) error {
	standings, err := m.o.Store.Standings(ctx)
	if err != nil {
		return err
	}
	for name := range known {
		if _, ok := standings[name]; !ok {
			delete(known, name)
		}
	}
	var failed error
	for name, s := range standings {
		k := known[name]
		if k == nil || k.version != s.Live {
			if k, err = m.read(ctx, name, s.Live, now); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			known[name] = k
		}
		for i := range k.all {
			if err := m.decide(ctx, name, k, i, now); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s of %s: %w", k.all[i].Name, name, err))
			}
		}
	}
	return failed
}

// read reads the schedules of a live release; none for version 0.
func (m *Manager) read(ctx context.Context, name string, version int, now time.Time) (*scheduled, error) {
	k := &scheduled{version: version}
	if version != 0 {
		r, svc, err := m.release(ctx, name, version)
		if err != nil {
			return nil, err
		}
		if !r.Finished.IsZero() && r.Finished.Before(now) { // a new schedule counts from when it went live
			now = r.Finished
		}
		if k.all, err = schedule.Of(svc.Spec.Template.Annotations); err != nil {
			return nil, fmt.Errorf("the schedules of v%d of %s: %w", version, name, err)
		}
	}
	var names []string
	for i := range k.all {
		t, err := k.all[i].Times()
		if err != nil { // it was checked at the push: the zones of this machine have changed
			return nil, fmt.Errorf("the schedule %s of v%d of %s: %w", k.all[i].Name, version, name, err)
		}
		k.times = append(k.times, t)
		m.knows(name, k.all[i].Name)
		names = append(names, k.all[i].Name)
	}
	return k, m.o.Store.SetSchedules(ctx, name, names, now)
}

// corrected is how far the clock must go back to be taken for one that was wrong before, as cron takes it: schedules go on from the new time then. Where it goes back by less,
// they wait until it has caught up.
const corrected = 3 * time.Hour

// decide claims the due times of one schedule up to now, and starts what is to be started.
func (m *Manager) decide(ctx context.Context, name string, k *scheduled, i int, now time.Time) error {
	s := &k.all[i]
	from, err := m.o.Store.Decided(ctx, name, s.Name)
	if err != nil || from.IsZero() {
		return err
	}
	if from.Sub(now) > corrected {
		m.o.Log("schedules: the clock went back: %s of %s was decided up to %s, and goes on from %s", s.Name, name, from.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		_, _, err = m.o.Store.Decide(ctx, name, s.Name, from, now, nil)
		return err
	}
	due, before := dueTimes(k.times[i], from, now)
	if len(due) == 0 {
		return m.retry(ctx, name, k, s, now)
	}
	jobs, replaced, err := m.become(ctx, name, k.version, s, due, before, now)
	if err != nil {
		return err
	}
	entered, done, err := m.o.Store.Decide(ctx, name, s.Name, from, due[len(due)-1], jobs)
	if err != nil || !done {
		return err
	}
	for _, j := range replaced {
		m.tasks.Go(func() {
			_ = m.endRun(m.ctx, j, end{app.JobStopped, "the next one of its schedule took its place"})
		})
	}
	for _, j := range entered {
		if j.State == app.JobMissed {
			m.o.Metrics.Schedules.Inc(j.App, j.Schedule, "missed")
		}
		if j.State == app.JobStarting {
			m.tasks.Go(func() { m.resume(j) })
		}
	}
	return nil
}

// dueTimes are those after from up to now, the last maxNoted of them; before is how many there were before these.
func dueTimes(t schedule.Times, from, now time.Time) (due []time.Time, before int) {
	for at := t.Next(from); !at.IsZero() && !at.After(now); at = t.Next(at) {
		if due = append(due, at); len(due) > maxNoted {
			due, before = due[1:], before+1
		}
	}
	return due, before
}

// late is how long after its due time a job is started without being a missed one.
const late = time.Minute

// become says what becomes of due times: jobs to enter, and the running ones that the newest replaces.
func (m *Manager) become(ctx context.Context, name string, version int, s *schedule.Schedule, due []time.Time, before int, now time.Time) (jobs, replaced []app.Job, err error) {
	newest := due[len(due)-1]
	for _, at := range due {
		j := app.Job{App: name, Kind: app.JobSchedule, Schedule: s.Name, Due: at, Version: version, Key: clock, Command: commandIn(s), Detached: true,
			Started: now, Deadline: now.Add(cmp.Or(s.Timeout, DefaultTimeout)), State: app.JobStarting, Trace: m.newTrace()}
		if at != newest || s.Missed == schedule.Skip && now.Sub(at) > late {
			j.State, j.Ended, j.Reason = app.JobMissed, now, "gitd did not run when it was due"
		}
		if before > 0 {
			j.Reason += fmt.Sprintf(", and %d times before", before)
			before = 0
		}
		jobs = append(jobs, j)
	}
	last := &jobs[len(jobs)-1]
	if last.State != app.JobStarting {
		return jobs, nil, nil
	}
	if stop, err := m.o.Store.Ledger(name).Stopped(ctx, version); err != nil {
		return nil, nil, err
	} else if stop != nil {
		last.State, last.Ended, last.Reason = app.JobMissed, now, "the app was stopped by "+app.Plain(stop.Key)
		return jobs, nil, nil
	}
	if s.Overlap == schedule.Allow {
		return jobs, nil, nil
	}
	open, err := m.o.Store.JobsUnderWay(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, j := range open {
		if j.App != name || j.Schedule != s.Name {
			continue
		}
		if s.Overlap == schedule.Replace {
			replaced = append(replaced, j)
			continue
		}
		last.State, last.Ended, last.Reason = app.JobMissed, now, fmt.Sprintf("j%d, the one before, still ran", j.Number)
		return jobs, nil, nil
	}
	return jobs, replaced, nil
}

// retry tries the newest job of a schedule again, where it has failed and may be.
func (m *Manager) retry(ctx context.Context, name string, k *scheduled, s *schedule.Schedule, now time.Time) error {
	if s.Retries == 0 {
		return nil
	}
	newest, err := m.o.Store.JobsDue(ctx, name, s.Name, 1)
	if err != nil || len(newest) == 0 {
		return err
	}
	j := newest[0]
	failed := j.State == app.JobFailed || j.State == app.JobTimedOut
	if !failed || j.Attempt >= s.Retries || now.Sub(j.Ended) < pause(j.Attempt) {
		return nil
	}
	again := app.Job{App: name, Kind: app.JobSchedule, Schedule: s.Name, Due: j.Due, Attempt: j.Attempt + 1, Version: k.version, Command: commandIn(s), Detached: true,
		Started: now, Deadline: now.Add(cmp.Or(s.Timeout, DefaultTimeout)), State: app.JobStarting, Trace: m.newTrace()}
	again, err = m.o.Store.EnterJob(ctx, app.Root, again, atOnce)
	if app.CodeOf(err) == app.CodeExists || app.CodeOf(err) == app.CodeLimitExceeded { // it is tried later
		return nil
	}
	if err == nil {
		m.tasks.Go(func() { m.resume(again) })
	}
	return err
}

// pause is how long a job is waited with that has failed, before the next attempt: 30 s, and twice as long each time, at most an hour.
func pause(attempt int) time.Duration { return min(30*time.Second<<min(attempt, 10), time.Hour) }

// resume starts a scheduled job that is entered, unless it was started before, and watches it; or sends its event.
func (m *Manager) resume(j app.Job) {
	_, svc, err := m.release(m.ctx, j.App, j.Version)
	switch s := sends(svc, j); {
	case err != nil:
	case s != nil:
		m.send(j, s)
	default:
		_, err = m.start(m.ctx, j, svc, m.specOf(j))
	}
	if err != nil && m.ctx.Err() == nil {
		m.o.Log("schedules: j%d of %s did not start: %v", j.Number, j.App, err, logged(j))
	}
}

// specOf is what a scheduled job asks of the platform.
func (m *Manager) specOf(j app.Job) deploy.RunSpec {
	spec := deploy.RunSpec{Args: j.Command, Grace: grace}
	if r, err := m.o.Store.Ledger(j.App).Find(m.ctx, j.Version); err == nil && hasType(r, j.Command[0]) {
		spec.Process, spec.Args = j.Command[0], j.Command[1:]
	}
	return spec
}
