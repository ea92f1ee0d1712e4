package release

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/registry"
)

// collected tells of each collection what the app "hello" needs.
type collected chan []string

func (c collected) Collect(_ context.Context, needed registry.Needed, _ time.Time) (int64, error) {
	digests, err := needed("hello")
	c <- digests
	return 0, err
}

func (c collected) CollectRepository(_ context.Context, _ string, digests []string, _ time.Time) error {
	c <- digests
	return nil
}

// A dry run builds and goes no further: there is no platform here that it could touch.
func TestMachine_DryRun(t *testing.T) {
	images := make(collected, 1)
	processes := []app.Process{{Type: "web"}}
	m := newMachine(t, builderFunc(func(_ context.Context, r build.Request) (*build.Result, error) {
		if !r.ClearCache {
			t.Error("the cache was to be cleared")
		}
		return &build.Result{Repository: "hello", Digest: "sha256:1", Processes: processes}, nil
	}), func(o *Options) { o.Images = images })
	_, err := dryRun(context.Background(), m, "hello", "c")
	if app.CodeOf(err) != app.CodeDryRun || err.Error() != "dry run: the build works; nothing was deployed" {
		t.Fatal(err)
	}
	r := ledger(t, m, "hello")[0]
	if r.State != app.StateCancelled || r.Reason != err.Error() || r.Message != "just a try" {
		t.Errorf("%+v", r)
	}
	m.Sweep(t.Context())
	if keep := <-images; len(keep) > 0 {
		t.Errorf("kept: %v", keep)
	}
	processes = nil
	if _, err := dryRun(context.Background(), m, "hello", "c"); app.CodeOf(err) != app.CodeStartFailed {
		t.Errorf("an image that cannot be started: %v", err)
	}
}

// firstWrite is a client that goes away at the first line.
type firstWrite func()

func (f firstWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// A dry run stops nothing: it waits for what is under way. A push does not wait for it.
func TestMachine_DryRunWaits(t *testing.T) {
	entered, proceed := make(chan string, 10), make(chan struct{})
	m := newMachine(t, builderFunc(func(ctx context.Context, r build.Request) (*build.Result, error) {
		entered <- r.Commit
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-proceed:
			return nil, app.Errorf(app.CodeBuildFailed, "", "%s ends here", r.Commit)
		}
	}), nil)
	builds := func(want string) {
		t.Helper()
		if got := <-entered; got != want {
			t.Fatalf("%s builds, want %s", got, want)
		}
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer m.Close()
	fails := func(commit string) {
		if _, err := push(ctx, m, "hello", commit); app.CodeOf(err) != app.CodeBuildFailed {
			t.Errorf("%s: %v", commit, err)
		}
	}
	wg.Go(func() { fails("first") })
	builds("first")
	gone, leave := context.WithCancel(ctx)
	_, err := m.Deploy(gone, app.Push{App: "hello", By: app.Root, Commit: "try", Mode: app.ModeDryRun, Source: noSource{}, Log: app.NewLog(firstWrite(leave))})
	if app.CodeOf(err) != app.CodeCancelled {
		t.Fatal("a dry run whose client went away while it waited:", err)
	}
	waiting := make(chan struct{})
	wg.Go(func() {
		log := app.NewLog(firstWrite(sync.OnceFunc(func() { close(waiting) })))
		var kept strings.Builder
		log.Copy(&kept)
		_, err := m.Deploy(ctx, app.Push{App: "hello", By: app.Root, Commit: "try", Mode: app.ModeDryRun, Source: noSource{}, Log: log})
		if app.CodeOf(err) != app.CodeSuperseded || !strings.Contains(kept.String(), "Waiting for the release of hello that is under way") {
			t.Errorf("try: %v\n%s", err, kept.String())
		}
	})
	<-waiting
	// Only when the first has ended does the dry run begin.
	proceed <- struct{}{}
	builds("try")
	wg.Go(func() { fails("second") })
	builds("second")
	proceed <- struct{}{}
	wg.Wait()
	var states []string
	for _, r := range ledger(t, m, "hello") {
		states = append(states, r.Commit+" "+string(r.State))
	}
	if got := strings.Join(states, ", "); got != "first failed, try superseded, second failed" {
		t.Error(got)
	}
}
