package job_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/job"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/store"
)

// Run of held is attached to its client.
func (h *held) Run(ctx context.Context, _ *servingv1.Service, _ deploy.RunSpec) (deploy.Exit, error) {
	<-ctx.Done()
	return deploy.Exit{Code: 137, Signal: "killed"}, context.Cause(ctx)
}

// TestAtOnce: an app has twenty jobs at a time, attached and detached ones together; the next is refused, nothing of it runs, and there is room again when one
// has ended, also by its client.
func TestAtOnce(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	live(t, st, "full", []schedule.Schedule{{Name: "a", Cron: "0 0 1 1 *", Zone: "UTC", Command: []string{"true"}}, {Name: "b", Cron: "0 0 1 1 *", Zone: "UTC", Command: []string{"true"}}})
	platform := &held{runs: map[string]chan deploy.Exit{}}
	m := job.New(job.Options{Store: st, Platform: platform, LogDir: t.TempDir(), Log: t.Logf})
	defer m.Close()
	detached := job.Request{App: "full", Command: []string{"true"}, Detach: true}
	for i := range 19 {
		if _, _, err := m.Run(t.Context(), app.Root, detached); err != nil {
			t.Fatalf("job %d: %v", i+1, err)
		}
	}
	ctx, leave := context.WithCancelCause(t.Context())
	left := app.Errorf(app.CodeCancelled, "run it again", "the client went away")
	ended := make(chan error, 1)
	go func() {
		_, _, err := m.Run(ctx, app.Root, job.Request{App: "full", Command: []string{"true"}, Stdin: strings.NewReader("")})
		ended <- err
	}()
	of := func(n int) (j app.Job) {
		j, _ = st.Job(t.Context(), "full", n)
		return j
	}
	apptest.Eventually(t, time.Minute, "the attached one runs", func() bool { return of(20).State == app.JobRunning })
	_, _, err = m.Run(t.Context(), app.Root, detached)
	if app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "20 jobs of full are under way") {
		t.Errorf("the 21st: %v", err)
	}
	if all, err := st.Jobs(t.Context(), "full", 0, 100); err != nil || len(all) != 20 || len(platform.runs) != 19 {
		t.Errorf("%d jobs, %d runs, %v", len(all), len(platform.runs), err)
	}
	leave(left)
	if err := <-ended; app.CodeOf(err) != app.CodeCancelled {
		t.Errorf("the client went away: %v", err)
	}
	if j := of(20); j.State != app.JobCancelled || j.Reason != "the client went away" || j.Status != 137 || j.Ended.IsZero() {
		t.Errorf("%+v", j)
	}
	if _, _, err := m.Run(t.Context(), app.Root, detached); err != nil {
		t.Errorf("when one has ended: %v", err)
	}
}
