package job_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/job"
	"github.com/gitd-io/gitd/internal/store"
)

// kept is a platform that has runs, and notes which of them are removed.
type kept struct {
	*held
	mu   sync.Mutex // mu guards the following
	left map[string]bool
}

func (k *kept) RemoveRun(_ context.Context, _, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.left[name] {
		return deploy.ErrNotFound
	}
	delete(k.left, name)
	return nil
}

func (k *kept) has(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.left[name]
}

// TestRecover_RemovesWhatHasEnded has a server that was killed when the end of a job was in the ledger, and its container was still there.
func TestRecover_RemovesWhatHasEnded(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	live(t, st, "clock", nil)
	for _, ended := range []time.Time{epoch, epoch.Add(time.Minute), {}, {}} {
		state := app.JobDone
		if ended.IsZero() {
			state = app.JobRunning
		}
		j := app.Job{App: "clock", Kind: app.JobRun, Version: 1, Command: []string{"true"}, Detached: true, Started: epoch, Ended: ended, Deadline: time.Now().Add(time.Hour), State: state}
		if _, err := st.EnterJob(t.Context(), app.Root, j, 20); err != nil {
			t.Fatal(err)
		}
	}
	k := &kept{held: &held{runs: map[string]chan deploy.Exit{}}, left: map[string]bool{"clock-job-2": true, "clock-job-3": true}}
	k.run("clock-job-4") <- deploy.Exit{} // it ended while no server was there
	m := job.New(job.Options{Store: st, Platform: k, LogDir: t.TempDir(), Log: t.Logf})
	t.Cleanup(m.Close)
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, 10*time.Second, "the run of the job that has ended is removed", func() bool { return !k.has("clock-job-2") })
	if !k.has("clock-job-3") {
		t.Error("the run that goes on was removed")
	}
}
