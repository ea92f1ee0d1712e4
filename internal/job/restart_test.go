package job_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/job"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/store"
)

// The clock of the test goes fast: a minute in 100 ms, from a moment on that all processes know.
const (
	speed      = 600
	serverDir  = "GITD_TEST_JOB_SERVER"
	clockBegan = "GITD_TEST_JOB_CLOCK"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func fastClock(began time.Time) func() time.Time {
	return func() time.Time { return epoch.Add(time.Since(began) * speed) }
}

// disk is a platform whose runs outlive the process: a file each. As every platform does, it starts a name once.
type disk struct {
	deploy.Platform
	dir string
}

// mark makes a file, in one step. It returns false where there is one.
func (d disk) mark(what, name string) bool {
	f, err := os.OpenFile(filepath.Join(d.dir, what+name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func (d disk) has(what, name string) bool {
	_, err := os.Stat(filepath.Join(d.dir, what+name))
	return err == nil
}

func (d disk) StartRun(_ context.Context, _ *servingv1.Service, s deploy.RunSpec) error {
	if !d.mark("started-", s.Name) && d.has("removed-", s.Name) {
		d.mark("again-", s.Name) // it runs a second time
	}
	return nil
}

func (d disk) WaitRun(ctx context.Context, _, name string) (deploy.Exit, error) {
	if !d.has("started-", name) || d.has("removed-", name) {
		return deploy.Exit{}, deploy.ErrNotFound
	}
	select {
	case <-time.After(rand.N(20 * time.Millisecond)):
		return deploy.Exit{}, nil
	case <-ctx.Done():
		return deploy.Exit{}, context.Cause(ctx)
	}
}

func (d disk) StopRun(context.Context, string, string, time.Duration) error { return nil }

func (d disk) RemoveRun(_ context.Context, _, name string) error {
	d.mark("removed-", name)
	return nil
}

// TestServer is a process that runs schedules until it is killed. It is a test only for TestRestarts.
func TestServer(t *testing.T) {
	dir := os.Getenv(serverDir)
	if dir == "" {
		return
	}
	began, err := strconv.ParseInt(os.Getenv(clockBegan), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(filepath.Join(dir, "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	m := job.New(job.Options{Store: st, Platform: disk{dir: dir}, LogDir: dir, Now: fastClock(time.Unix(0, began)), Log: t.Logf})
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Schedules(2 * time.Millisecond)
	fmt.Println("serves")
	time.Sleep(time.Minute)
}

// TestRestarts kills the server at random moments: each due time is started once, or noted as missed. GITD_TEST_RESTARTS says how often: 200 take a minute.
func TestRestarts(t *testing.T) {
	restarts := 25
	if n, err := strconv.Atoi(os.Getenv("GITD_TEST_RESTARTS")); err == nil {
		restarts = n
	}
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	all := []schedule.Schedule{
		{Name: "often", Cron: "* * * * *", Zone: "UTC", Command: []string{"true"}, Overlap: schedule.Allow, Missed: schedule.RunOnce},
		{Name: "skips", Cron: "*/2 * * * *", Zone: "Asia/Kolkata", Command: []string{"true"}, Overlap: schedule.Forbid, Missed: schedule.Skip},
	}
	live(t, st, "clock", all)
	began := time.Now()
	now := fastClock(began)
	seen := map[int]app.Job{}
	look := func() {
		jobs, err := st.Jobs(t.Context(), "clock", 0, store.KeptJobs)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			seen[j.Number] = j
		}
	}
	for range restarts {
		c := exec.Command(os.Args[0], "-test.run=^TestServer$")
		c.Env = append(os.Environ(), serverDir+"="+dir, clockBegan+"="+strconv.FormatInt(began.UnixNano(), 10))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = bufio.NewReader(out).ReadString('\n')
		time.Sleep(rand.N(200 * time.Millisecond))
		_ = c.Process.Kill()
		_ = c.Wait()
		if rand.N(3) == 0 {
			time.Sleep(rand.N(400 * time.Millisecond))
		}
		look()
	}
	// One more ends what is under way.
	end := now()
	m := job.New(job.Options{Store: st, Platform: disk{dir: dir}, LogDir: dir, Now: now, Log: t.Logf})
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Schedules(2 * time.Millisecond)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if look(); settled(t, dir, seen, all, end) {
			break
		}
	}
	m.Close()
	look()
	checkDue(t, dir, seen, all, end)
}

// settled says whether nothing is wrong of the due times up to end.
func settled(t *testing.T, dir string, seen map[int]app.Job, all []schedule.Schedule, end time.Time) bool {
	t.Helper()
	wrong, _, _ := due(t, dir, seen, all, end)
	return len(wrong) == 0
}

// checkDue fails on what is wrong of the due times up to end, and where none was started or missed.
func checkDue(t *testing.T, dir string, seen map[int]app.Job, all []schedule.Schedule, end time.Time) {
	t.Helper()
	wrong, ran, missed := due(t, dir, seen, all, end)
	for _, w := range wrong {
		t.Error(w)
	}
	t.Logf("%d started, %d missed", ran, missed)
	if ran == 0 || missed == 0 {
		t.Errorf("%d started, %d missed: the test shows nothing", ran, missed)
	}
}

// due looks at what became of each due time up to end: what is wrong, and how many were started and missed.
func due(t *testing.T, dir string, seen map[int]app.Job, all []schedule.Schedule, end time.Time) (wrong []string, ran, missed int) {
	d := disk{dir: dir}
	became, together := map[string]app.JobState{}, map[string]int{}
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, j := range seen {
		due := j.Schedule + " " + j.Due.UTC().Format(time.RFC3339)
		if before, ok := became[due]; ok {
			say("%s: %s, and %s", due, before, j.State)
		}
		became[due] = j.State
		name, started := fmt.Sprintf("clock-job-%d", j.Number), 0
		if d.has("started-", name) {
			started++
		}
		if d.has("again-", name) {
			started++
		}
		if _, n, ok := strings.Cut(j.Reason, ", and "); ok { // those that were missed before it, in one line
			n, err := strconv.Atoi(strings.TrimSuffix(n, " times before"))
			if err != nil {
				t.Fatal(j.Reason)
			}
			together[j.Schedule] += n
		}
		switch {
		case j.State == app.JobMissed && started == 0:
			missed++
		case j.State != app.JobMissed && started == 1:
			ran++
		case j.Due.Before(end):
			say("%s: j%d is %s (%s), and was started %d times", due, j.Number, j.State, j.Reason, started)
		}
	}
	for _, s := range all {
		times, err := s.Times()
		if err != nil {
			t.Fatal(err)
		}
		var gone []time.Time
		for at := times.Next(epoch); at.Before(end); at = times.Next(at) {
			if became[s.Name+" "+at.Format(time.RFC3339)] == "" {
				gone = append(gone, at)
			}
		}
		if len(gone) != together[s.Name] {
			say("%s: neither started nor missed, but for %d: %v", s.Name, together[s.Name], gone)
		}
	}
	return wrong, ran, missed
}

// live makes an app whose live release has these schedules.
func live(t *testing.T, st *store.Store, name string, all []schedule.Schedule) {
	t.Helper()
	svc := &servingv1.Service{}
	svc.Name = name
	svc.Spec.Template.Annotations = map[string]string{}
	if err := schedule.Set(svc.Spec.Template.Annotations, all); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(svc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.CreateApp(t.Context(), name, "dev"); err != nil {
		t.Fatal(err)
	}
	r, err := st.AddRelease(t.Context(), app.Release{App: name, Commit: strings.Repeat("a", 40), Key: "dev", Kind: app.KindPush})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []store.Event{{State: app.StateStarting, Service: text}, {State: app.StateLive}} {
		if err := st.AddEvent(t.Context(), name, r.Version, e); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if err := st.SetSchedules(t.Context(), name, names, epoch); err != nil {
		t.Fatal(err)
	}
}
