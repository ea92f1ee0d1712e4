package job

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// runName is the name of a detached job on the platform: short, and another one for each job.
func runName(j app.Job) string {
	name := j.App
	if len(name) > 30 {
		sum := sha256.Sum256([]byte(name))
		name = name[:20] + "-" + hex.EncodeToString(sum[:4])
	}
	return fmt.Sprintf("%s-job-%d", name, j.Number)
}

// start starts a job that outlives this process, and watches it in the background.
func (m *Manager) start(ctx context.Context, j app.Job, svc *servingv1.Service, spec deploy.RunSpec) (app.Job, error) {
	spec.Name, spec.Log, spec.LogSize = runName(j), m.LogFile(j.App, j.Number), logSize
	if err := m.o.Platform.StartRun(ctx, svc, spec); err != nil {
		if m.ctx.Err() != nil { // the next process goes on with it
			return j, err
		}
		m.ended(&j, deploy.Exit{}, err)
		return j, err
	}
	j.State = app.JobRunning
	m.update(&j)
	m.began(j)
	m.tasks.Go(func() { m.watch(j) })
	return j, nil
}

// watch waits for the end of a detached job, by itself or at its time limit, and writes it down. When the Manager is closed, the next one goes on.
func (m *Manager) watch(j app.Job) {
	k := key{j.App, j.Number}
	late := time.AfterFunc(j.Deadline.Sub(m.o.Now()), func() {
		if err := m.endRun(m.ctx, j, end{app.JobTimedOut, app.OneLine(timedOut(j))}); err != nil && m.ctx.Err() == nil {
			m.o.Log("jobs: j%d of %s has reached its time limit, and does not end: %v", j.Number, j.App, err, logged(j))
		}
	})
	defer late.Stop()
	exit, err := m.wait(j)
	if m.ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	why, ended := m.ends[k]
	delete(m.ends, k)
	m.mu.Unlock()
	switch {
	case errors.Is(err, deploy.ErrNotFound):
		j.State, j.Reason, j.Ended = app.JobLost, "it was gone when the server came back", m.o.Now()
		m.update(&j)
		return
	case err != nil:
		m.o.Log("jobs: j%d of %s: %v", j.Number, j.App, err, logged(j))
		m.ended(&j, exit, err)
	case ended:
		j.Status, j.Signal, j.State, j.Reason, j.Ended = exit.Code, exit.Signal, why.state, why.reason, m.o.Now()
		m.update(&j)
	default:
		m.ended(&j, exit, nil)
	}
	if err := m.o.Platform.RemoveRun(context.WithoutCancel(m.ctx), j.App, runName(j)); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		m.o.Log("jobs: j%d of %s: %v", j.Number, j.App, err, logged(j))
	}
}

// waitAgain is how long the platform is left alone that could not say how a job ended.
const waitAgain = 15 * time.Second

// wait waits for the end of a detached job. A platform that cannot be asked for a while has not ended it.
func (m *Manager) wait(j app.Job) (deploy.Exit, error) {
	for {
		exit, err := m.o.Platform.WaitRun(m.ctx, j.App, runName(j))
		var start *deploy.StartError
		if err == nil || m.ctx.Err() != nil || errors.Is(err, deploy.ErrNotFound) || errors.As(err, &start) {
			return exit, err
		}
		m.o.Log("jobs: j%d of %s, asked again in %s: %v", j.Number, j.App, waitAgain, err, logged(j))
		select {
		case <-time.After(waitAgain):
		case <-m.ctx.Done():
		}
	}
}

// endRun ends a detached job.
func (m *Manager) endRun(ctx context.Context, j app.Job, why end) error {
	m.mu.Lock()
	k := key{j.App, j.Number}
	if _, ok := m.ends[k]; !ok {
		m.ends[k] = why
	}
	m.mu.Unlock()
	err := m.o.Platform.StopRun(ctx, j.App, runName(j), grace)
	if errors.Is(err, deploy.ErrNotFound) {
		return nil
	}
	return err
}

// Stop ends a job for by, and returns when it is told to end; a detached one has ended then.
func (m *Manager) Stop(ctx context.Context, by app.Caller, name string, number int) (app.Job, error) {
	j, err := m.o.Store.Job(ctx, name, number)
	if err != nil {
		return j, err
	}
	if !j.Ended.IsZero() {
		return j, app.Errorf(app.CodeInvalidInput, "see how: gitd jobs show "+j.App+fmt.Sprintf(" j%d", number), "the job j%d of %s has ended already", number, j.App)
	}
	why := "stopped by " + by.Name()
	if j.Detached {
		return j, m.endRun(ctx, j, end{app.JobStopped, why})
	}
	m.mu.Lock()
	cancel := m.attached[key{j.App, number}]
	m.mu.Unlock()
	if cancel != nil {
		cancel(early{app.Errorf(app.CodeCancelled, "run it again", "%s", why), app.JobStopped})
	}
	return j, nil
}

// Recover goes on with the detached jobs of an earlier process, and notes that those that were attached to it are lost.
func (m *Manager) Recover(ctx context.Context) error {
	began := m.o.Now().Truncate(time.Millisecond) // as exact as the ledger is
	all, err := m.o.Store.JobsUnderWay(ctx)
	if err != nil {
		return err
	}
	for _, j := range all {
		if !j.Detached {
			j.State, j.Reason, j.Ended = app.JobLost, "it ended with the server", m.o.Now()
			m.update(&j)
			continue
		}
		if j.Kind == app.JobSchedule && j.State == app.JobStarting { // whether it was started, the platform knows
			m.tasks.Go(func() { m.resume(j) })
			continue
		}
		m.tasks.Go(func() { m.watch(j) })
	}
	m.tasks.Go(func() { m.removeEnded(began) })
	return nil
}

// Of the jobs that ended last, those are looked at that may be on the platform still: so many of an app, that ended so shortly before the last one.
const (
	lastEnded  = 50
	shortlyAgo = 5 * time.Minute
)

// removeEnded removes from the platform what processes before began did not come to remove: one was killed when the end of a job was in the ledger.
func (m *Manager) removeEnded(began time.Time) {
	standings, err := m.o.Store.Standings(m.ctx)
	var all []app.Job
	var last time.Time
	for name := range standings {
		jobs, e := m.o.Store.Jobs(m.ctx, name, 0, lastEnded)
		err = errors.Join(err, e)
		for _, j := range jobs {
			if j.Detached && !j.Ended.IsZero() && j.Ended.Before(began) && j.State != app.JobMissed {
				all = append(all, j)
				if j.Ended.After(last) {
					last = j.Ended
				}
			}
		}
	}
	if err != nil && m.ctx.Err() == nil {
		m.o.Log("jobs: which ones ended last cannot be read: %v", err)
	}
	for _, j := range all {
		if last.Sub(j.Ended) > shortlyAgo {
			continue
		}
		// Asked again: of an app that was destroyed and made again meanwhile, another job may have this number.
		if now, err := m.o.Store.Job(m.ctx, j.App, j.Number); err != nil || now.Ended.IsZero() {
			continue
		}
		if err := m.o.Platform.RemoveRun(m.ctx, j.App, runName(j)); err != nil && !errors.Is(err, deploy.ErrNotFound) && m.ctx.Err() == nil {
			m.o.Log("jobs: j%d of %s: %v", j.Number, j.App, err, logged(j))
		}
	}
}
