package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/store"
)

// builderFunc builds by a function: the tests below are about what goes on around a build.
type builderFunc func(ctx context.Context, r build.Request) (*build.Result, error)

func (f builderFunc) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	return f(ctx, r)
}

type noSource struct{}

func (noSource) Checkout(context.Context, string, int, int) error { return nil }
func (noSource) ReadFile(string, int64) ([]byte, error)           { return nil, fs.ErrNotExist }

func newMachine(t *testing.T, b build.Builder, change func(*Options)) *Machine {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Store: s, Builder: b, LogDir: filepath.Join(dir, "logs"), URL: func(a string) string { return a }, Log: t.Logf,
		SetLive: func(app.App, string) error { return nil }}
	if change != nil {
		change(&o)
	}
	m := New(o)
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

func push(ctx context.Context, m *Machine, name, commit string) (string, error) {
	var log strings.Builder
	_, err := m.Deploy(ctx, app.Push{App: name, By: app.Root, Ref: "refs/heads/main", Commit: commit, Source: noSource{}, Log: app.NewLog(&log), Started: time.Now()})
	return log.String(), err
}

// dryRun is push with -o dry-run.
func dryRun(ctx context.Context, m *Machine, name, commit string) (string, error) {
	var log strings.Builder
	_, err := m.Deploy(ctx, app.Push{App: name, By: app.Root, Ref: "refs/heads/main", Commit: commit, Message: "just a try", Mode: app.ModeDryRun, ClearCache: true,
		Source: noSource{}, Log: app.NewLog(&log), Started: time.Now()})
	return log.String(), err
}

func ledger(t *testing.T, m *Machine, name string) []app.Release {
	t.Helper()
	all, err := m.o.Store.Ledger(name).Page(context.Background(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// Of pushes that come while one builds, the newest goes on, and every older one is told which replaced it; never two builds of an
// app at once.
func TestMachine_NewestPushWins(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	entered := make(chan string, 10)
	release := make(chan struct{})
	m := newMachine(t, builderFunc(func(ctx context.Context, r build.Request) (*build.Result, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		entered <- r.Commit
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stopped: %w", ctx.Err())
		case <-release:
			return nil, app.Errorf(app.CodeBuildFailed, "", "it ends here")
		}
	}), nil)

	const n = 5
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = push(context.Background(), m, "hello", fmt.Sprintf("%040d", i)) })
		if got := <-entered; got != fmt.Sprintf("%040d", i) {
			t.Errorf("push %d: %s builds", i, got)
		}
	}
	close(release)
	wg.Wait()
	for i, err := range errs {
		want, text := app.CodeSuperseded, fmt.Sprintf("superseded by v%d", i+2)
		if i == n-1 {
			want, text = app.CodeBuildFailed, "it ends here"
		}
		if app.CodeOf(err) != want || !strings.Contains(err.Error(), text) {
			t.Errorf("push %d: %v", i, err)
		}
	}
	if most != 1 {
		t.Errorf("%d builds at once", most)
	}
	for i, r := range ledger(t, m, "hello") {
		if want := map[bool]app.State{true: app.StateFailed, false: app.StateSuperseded}[i == n-1]; r.State != want {
			t.Errorf("v%d: %s, want %s", r.Version, r.State, want)
		}
	}
}

func TestMachine_AppsDoNotWaitForOneAnother(t *testing.T) {
	all := make(chan struct{}, 4)
	m := newMachine(t, builderFunc(func(ctx context.Context, _ build.Request) (*build.Result, error) {
		all <- struct{}{}
		for len(all) < cap(all) { // until the other three are here as well
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			time.Sleep(time.Millisecond)
		}
		return nil, app.Errorf(app.CodeBuildFailed, "", "done")
	}), nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range cap(all) {
		wg.Go(func() {
			if _, err := push(ctx, m, fmt.Sprintf("app-%d", i), "c"); app.CodeOf(err) != app.CodeBuildFailed {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestMachine_EndsOfAPush(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   func(cancel context.CancelFunc) error
		code  app.Code
		state app.State
	}{
		{"BuildFailed", func(context.CancelFunc) error { return app.Errorf(app.CodeBuildFailed, "", "no") }, app.CodeBuildFailed, app.StateFailed},
		{"Defect", func(context.CancelFunc) error { return errors.New("a secret path") }, app.CodeInternal, app.StateFailed},
		{"ClientGone", func(cancel context.CancelFunc) error { cancel(); return context.Canceled }, app.CodeCancelled, app.StateCancelled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			m := newMachine(t, builderFunc(func(context.Context, build.Request) (*build.Result, error) { return nil, tt.err(cancel) }), nil)
			_, err := push(ctx, m, "hello", "c")
			if app.CodeOf(err) != tt.code {
				t.Fatalf("%v (%s)", err, app.CodeOf(err))
			}
			r := ledger(t, m, "hello")[0]
			if r.State != tt.state || r.Finished.IsZero() || strings.Contains(r.Reason, "secret") {
				t.Fatalf("%+v", r)
			}
			if _, err := os.Stat(m.BuildLog("hello", 1)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMachine_ShutdownTellsPushes(t *testing.T) {
	entered := make(chan struct{})
	m := newMachine(t, builderFunc(func(ctx context.Context, _ build.Request) (*build.Result, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}), nil)
	done := make(chan error)
	go func() { _, err := push(context.Background(), m, "hello", "c"); done <- err }()
	<-entered
	m.Close()
	if err := <-done; app.CodeOf(err) != app.CodeUnavailable {
		t.Fatal(err)
	}
	if _, err := push(context.Background(), m, "hello", "c"); app.CodeOf(err) != app.CodeUnavailable {
		t.Fatal("a closed machine took a push:", err)
	}
}

func TestMachine_FullDisk(t *testing.T) {
	m := newMachine(t, nil, func(o *Options) { o.MinFree = 1 << 60 })
	if _, err := push(context.Background(), m, "hello", "c"); app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "nearly full") {
		t.Fatal(err)
	}
	if _, err := m.o.Store.App(context.Background(), "hello"); app.CodeOf(err) != app.CodeNotFound {
		t.Fatal("a refused push made the app")
	}
}

// past adds a release of an app to the ledger that ended in this state, with a revision.
func past(t *testing.T, m *Machine, name string, state app.State, revision string) {
	t.Helper()
	if _, err := m.o.Store.EnsureApp(t.Context(), name, "dev"); err != nil {
		t.Fatal(err)
	}
	r, err := m.o.Store.AddRelease(t.Context(), app.Release{App: name, Commit: "c", Ref: "refs/heads/main", Key: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []store.Event{{State: app.StateStarting, Repository: name, Digest: "sha256:" + revision, Revision: revision, Service: []byte("{}")}, {State: state}} {
		if err := m.o.Store.AddEvent(t.Context(), name, r.Version, e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTransitions_EveryStateEnds(t *testing.T) {
	for from, to := range transitions {
		if from.Final() {
			t.Errorf("a way leads out of %s", from)
		}
		for _, end := range []app.State{app.StateFailed, app.StateCancelled, app.StateSuperseded} {
			if !follows(from, end) {
				t.Errorf("%s cannot end in %s", from, end)
			}
		}
		for _, s := range to {
			if _, known := transitions[s]; !known && !s.Final() {
				t.Errorf("%s leads to %s, which leads nowhere", from, s)
			}
		}
	}
}

func TestMachine_LogIsBounded(t *testing.T) {
	m := newMachine(t, builderFunc(func(_ context.Context, r build.Request) (*build.Result, error) {
		line := strings.Repeat("x", 1<<20)
		for range maxLog>>20 + 2 {
			r.Log.Detail("%s", line)
		}
		return nil, app.Errorf(app.CodeBuildFailed, "", "done")
	}), nil)
	if _, err := push(context.Background(), m, "hello", "c"); err == nil {
		t.Fatal("no error")
	}
	info, err := os.Stat(m.BuildLog("hello", 1))
	if err != nil || info.Size() < maxLog/2 || info.Size() > maxLog+1<<10 {
		t.Fatalf("%v, %v", info, err)
	}
}
