package job_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/job"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/store"
)

// held is a platform whose runs end when the test says so.
type held struct {
	deploy.Platform
	mu   sync.Mutex // mu guards the following
	runs map[string]chan deploy.Exit
}

func (h *held) run(name string) chan deploy.Exit {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runs[name] == nil {
		h.runs[name] = make(chan deploy.Exit, 1)
	}
	return h.runs[name]
}

func (h *held) StartRun(_ context.Context, _ *servingv1.Service, s deploy.RunSpec) error {
	h.run(s.Name)
	return nil
}

func (h *held) WaitRun(ctx context.Context, _, name string) (deploy.Exit, error) {
	select {
	case e := <-h.run(name):
		return e, nil
	case <-ctx.Done():
		return deploy.Exit{}, context.Cause(ctx)
	}
}

func (h *held) StopRun(_ context.Context, _, name string, _ time.Duration) error {
	h.run(name) <- deploy.Exit{Code: 143, Signal: "terminated"}
	return nil
}

func (h *held) RemoveRun(context.Context, string, string) error { return nil }

// scene is a Manager with a clock that the test moves.
type scene struct {
	t        *testing.T
	store    *store.Store
	platform *held
	mu       sync.Mutex
	now      time.Time // guarded by mu
}

func newScene(t *testing.T, s schedule.Schedule) *scene { return newSceneWith(t, s, nil) }

func newSceneWith(t *testing.T, s schedule.Schedule, events job.Events) *scene {
	st, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	live(t, st, "clock", []schedule.Schedule{s, {Name: "never-mind", Cron: "0 0 1 1 *", Zone: "UTC", Command: []string{"true"}}})
	sc := &scene{t: t, store: st, platform: &held{runs: map[string]chan deploy.Exit{}}, now: epoch.Add(30 * time.Second)}
	m := job.New(job.Options{Store: st, Platform: sc.platform, LogDir: t.TempDir(), Now: sc.clock, Log: t.Logf, Events: events})
	t.Cleanup(m.Close)
	m.Schedules(time.Millisecond)
	return sc
}

func (s *scene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// pass lets time go by.
func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// becomes waits until the jobs are in these states, the oldest first.
func (s *scene) becomes(want ...app.JobState) []app.Job {
	s.t.Helper()
	var jobs []app.Job
	apptest.Eventually(s.t, 10*time.Second, "the jobs become as they should", func() bool {
		var err error
		if jobs, err = s.store.Jobs(s.t.Context(), "clock", 0, 200); err != nil {
			s.t.Fatal(err)
		}
		if len(jobs) != len(want) {
			return false
		}
		for i, j := range jobs {
			if j.State != want[len(want)-1-i] {
				return false
			}
		}
		return true
	})
	return jobs
}

func minutely(o schedule.Overlap, m schedule.Missed, retries int) schedule.Schedule {
	return schedule.Schedule{Name: "often", Cron: "* * * * *", Zone: "UTC", Command: []string{"true"}, Overlap: o, Missed: m, Retries: retries}
}

func TestSchedules_Overlap(t *testing.T) {
	t.Run("forbid", func(t *testing.T) {
		s := newScene(t, minutely(schedule.Forbid, schedule.RunOnce, 0))
		s.pass(time.Minute)
		s.becomes(app.JobRunning)
		s.pass(time.Minute)
		jobs := s.becomes(app.JobRunning, app.JobMissed)
		if jobs[0].Reason != "j1, the one before, still ran" {
			t.Errorf("%+v", jobs[0])
		}
		s.platform.run("clock-job-1") <- deploy.Exit{}
		s.becomes(app.JobDone, app.JobMissed)
		s.pass(time.Minute)
		s.becomes(app.JobDone, app.JobMissed, app.JobRunning)
	})
	t.Run("replace", func(t *testing.T) {
		s := newScene(t, minutely(schedule.Replace, schedule.RunOnce, 0))
		s.pass(time.Minute)
		s.becomes(app.JobRunning)
		s.pass(time.Minute)
		s.becomes(app.JobStopped, app.JobRunning)
	})
	t.Run("allow", func(t *testing.T) {
		s := newScene(t, minutely(schedule.Allow, schedule.RunOnce, 0))
		s.pass(time.Minute)
		s.becomes(app.JobRunning)
		s.pass(time.Minute)
		s.becomes(app.JobRunning, app.JobRunning)
	})
}

func TestSchedules_Missed(t *testing.T) {
	s := newScene(t, minutely(schedule.Forbid, schedule.RunOnce, 0))
	s.pass(3 * time.Minute)
	jobs := s.becomes(app.JobMissed, app.JobMissed, app.JobRunning)
	if !jobs[0].Due.Equal(epoch.Add(3 * time.Minute)) {
		t.Errorf("%+v", jobs[0])
	}
	s = newScene(t, minutely(schedule.Forbid, schedule.Skip, 0))
	s.pass(5*time.Minute + 40*time.Second)
	jobs = s.becomes(app.JobMissed, app.JobMissed, app.JobMissed, app.JobMissed, app.JobMissed, app.JobRunning)
	if jobs[5].Reason != "gitd did not run when it was due" {
		t.Errorf("%+v", jobs[5])
	}
	s = newScene(t, minutely(schedule.Forbid, schedule.RunOnce, 0))
	s.pass(48 * time.Hour) // 2,880 due times: the last hundred one by one, those before in one line
	apptest.Eventually(t, time.Minute, "a hundred lines", func() bool {
		jobs, err := s.store.Jobs(t.Context(), "clock", 0, 200)
		return err == nil && len(jobs) == 100 && jobs[99].Reason == "gitd did not run when it was due, and 2780 times before"
	})
}

// A clock that was wrong by much and is put right leaves no schedule waiting until the time that it had reached; one that goes back a little starts nothing twice.
func TestSchedules_ClockBack(t *testing.T) {
	s := newScene(t, minutely(schedule.Allow, schedule.RunOnce, 0))
	s.pass(time.Minute)
	s.becomes(app.JobRunning)
	s.pass(-time.Minute)
	time.Sleep(50 * time.Millisecond) // it looks at the clock each millisecond
	s.pass(time.Minute)
	time.Sleep(50 * time.Millisecond)
	s.becomes(app.JobRunning)

	s.pass(24*time.Hour - 2*time.Minute) // this far the clock is wrong
	apptest.Eventually(t, time.Minute, "a day is decided", func() bool {
		at, err := s.store.Decided(t.Context(), "clock", "often")
		return err == nil && at.Equal(epoch.Add(24*time.Hour-time.Minute))
	})
	s.pass(time.Minute)
	known := func() (dues map[string]int, newest int) {
		jobs, err := s.store.Jobs(t.Context(), "clock", 0, 500)
		if err != nil || len(jobs) == 0 {
			t.Fatal(jobs, err)
		}
		dues = map[string]int{}
		for _, j := range jobs {
			dues[j.Due.Sub(epoch).String()]++
		}
		return dues, jobs[0].Number
	}
	apptest.Eventually(t, time.Minute, "its last minute has a job", func() bool { dues, _ := known(); return dues["24h0m0s"] == 1 })
	_, before := known()
	s.pass(-23 * time.Hour)
	apptest.Eventually(t, time.Minute, "the schedule goes on from the new time", func() bool {
		at, err := s.store.Decided(t.Context(), "clock", "often")
		return err == nil && at.Before(epoch.Add(2*time.Hour))
	})
	s.pass(time.Minute)
	apptest.Eventually(t, time.Minute, "what is due now is started", func() bool { dues, newest := known(); return dues["1h1m0s"] == 1 && newest == before+1 })
	s.pass(23*time.Hour - time.Minute) // through minutes that have jobs
	apptest.Eventually(t, time.Minute, "it has caught up", func() bool {
		at, err := s.store.Decided(t.Context(), "clock", "often")
		return err == nil && at.Equal(epoch.Add(24*time.Hour))
	})
	dues, _ := known()
	for at, n := range dues {
		if n != 1 {
			t.Errorf("%d jobs were due at %s", n, at)
		}
	}
}

// Of an app that is stopped nothing runs: what is due is missed, and started again from the next time on.
func TestSchedules_Stopped(t *testing.T) {
	s := newScene(t, minutely(schedule.Forbid, schedule.RunOnce, 0))
	live, err := s.store.Ledger("clock").Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := func(stopped bool) {
		if err := s.store.SetStopped(t.Context(), app.Root, "clock", live.Version, stopped); err != nil {
			t.Fatal(err)
		}
	}
	set(true)
	s.pass(time.Minute)
	if jobs := s.becomes(app.JobMissed); jobs[0].Reason != "the app was stopped by root" {
		t.Errorf("%+v", jobs[0])
	}
	set(false)
	s.pass(time.Minute)
	s.becomes(app.JobMissed, app.JobRunning)
}

func TestSchedules_Retry(t *testing.T) {
	once := minutely(schedule.Forbid, schedule.RunOnce, 2)
	once.Cron = "1 0 * * *"
	s := newScene(t, once)
	s.pass(time.Minute)
	s.becomes(app.JobRunning)
	s.platform.run("clock-job-1") <- deploy.Exit{Code: 3}
	s.becomes(app.JobFailed)
	s.pass(time.Minute)
	jobs := s.becomes(app.JobFailed, app.JobRunning)
	if jobs[0].Attempt != 1 || !jobs[0].Due.Equal(jobs[1].Due) {
		t.Errorf("%+v", jobs[0])
	}
	s.platform.run("clock-job-2") <- deploy.Exit{Code: 3}
	s.becomes(app.JobFailed, app.JobFailed)
	s.pass(2 * time.Minute)
	s.becomes(app.JobFailed, app.JobFailed, app.JobRunning)
	s.platform.run("clock-job-3") <- deploy.Exit{Code: 3}
	s.becomes(app.JobFailed, app.JobFailed, app.JobFailed)
	s.pass(time.Hour)
	time.Sleep(50 * time.Millisecond)
	s.becomes(app.JobFailed, app.JobFailed, app.JobFailed) // no more than asked for
}

// broker takes events, but for the first ones.
type broker struct {
	mu      sync.Mutex // mu guards the following
	refuses int
	got     []event.Event
}

func (b *broker) Send(_ context.Context, _ string, e event.Event, from event.Sender) (event.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if from.Kind != event.FromSource {
		return event.Receipt{}, errors.New("it is not from a source")
	}
	if b.refuses--; b.refuses >= 0 {
		return event.Receipt{}, app.Errorf(app.CodeUnavailable, "send it again", "the broker is full")
	}
	b.got = append(b.got, e)
	return event.Receipt{Number: int64(len(b.got)), Triggers: 1}, nil
}

// An event of a schedule has the due time as its id, also when it is sent again: a broker knows it.
func TestSchedules_Event(t *testing.T) {
	b := &broker{refuses: 1}
	tick := schedule.Schedule{Name: "tick", Cron: "1 0 * * *", Zone: "UTC", Path: "/tick", Data: `{"n": 1}`, Overlap: schedule.Forbid, Missed: schedule.RunOnce, Retries: schedule.MaxRetries}
	s := newSceneWith(t, tick, b)
	s.pass(time.Minute)
	if jobs := s.becomes(app.JobFailed); !strings.Contains(jobs[0].Reason, "the broker is full") {
		t.Errorf("%+v", jobs[0])
	}
	s.pass(time.Minute)
	if jobs := s.becomes(app.JobFailed, app.JobDone); jobs[0].Reason != "event e1" || strings.Join(jobs[0].Command, " ") != "POST /tick" {
		t.Errorf("%+v", jobs[0])
	}
	due := epoch.Add(time.Minute).UTC().Format(time.RFC3339)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) != 1 || b.got[0].ID != due || b.got[0].Source != "/apps/clock/schedules/tick" || b.got[0].Type != event.ScheduleType || b.got[0].ContentType != "application/json" || string(b.got[0].Data) != tick.Data {
		t.Errorf("%+v", b.got)
	}
}

func TestSchedules_EventWithoutBroker(t *testing.T) {
	s := newScene(t, schedule.Schedule{Name: "tick", Cron: "* * * * *", Zone: "UTC", Path: "/tick"})
	s.pass(time.Minute)
	if jobs := s.becomes(app.JobFailed); !strings.Contains(jobs[0].Reason, "no brokers") {
		t.Errorf("%+v", jobs[0])
	}
}
