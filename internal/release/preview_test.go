package release

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/secret"
)

// idle is a platform where nothing runs but what it is told.
type idle struct {
	deploy.Platform
	runs map[string]bool
}

func (p idle) Describe(_ context.Context, name string) ([]deploy.RevisionStatus, error) {
	if p.runs[name] {
		return []deploy.RevisionStatus{{Name: name + "-v1", Instances: 1}}, nil
	}
	return nil, deploy.ErrNotFound
}

func (idle) Delete(context.Context, string) error { return nil }

// pushBranch pushes a branch of hello, whose build fails.
func pushBranch(t *testing.T, m *Machine, branch, descriptor string) (log string, err error) {
	t.Helper()
	a, err := m.o.Store.App(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	_, err = m.Deploy(t.Context(), app.Push{App: "hello", AppID: a.ID, By: app.Root, Ref: "refs/heads/" + branch, Branch: branch, Commit: "c", Source: files{"project.toml": descriptor},
		Log: app.NewLog(&b), Started: time.Now()})
	return b.String(), err
}

func branchesOf(t *testing.T, m *Machine, name string) (branches []string) {
	t.Helper()
	all, err := m.o.Store.Previews(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		branches = append(branches, p.Branch)
	}
	slices.Sort(branches)
	return branches
}

// failingBuilds is a builder that tells which app it builds; the build of slow--hello goes on until it is cancelled.
func failingBuilds(building chan string) builderFunc {
	return func(ctx context.Context, r build.Request) (*build.Result, error) {
		building <- r.App
		if r.App == "slow--hello" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, app.Errorf(app.CodeBuildFailed, "", "it ends here")
	}
}

func TestPreviews_Room(t *testing.T) {
	p := idle{runs: map[string]bool{}}
	building := make(chan string, 10)
	m := newMachine(t, failingBuilds(building), func(o *Options) { o.Platform, o.Images, o.Caps.Previews = p, make(collected, 100), 3 })
	past(t, m, "hello", app.StateLive, "hello-v1")
	refused := func(branch, descriptor string, code app.Code, words string) {
		t.Helper()
		if _, err := pushBranch(t, m, branch, descriptor); app.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", branch, err)
		}
	}
	refused("x", "[io.gitd.previews]\nbranches = []\n", app.CodeInvalidInput, "the branch x has no preview")
	refused("x", "[io.gitd.previews]\nttl = 1\n", app.CodeInvalidInput, "project.toml")
	if got := branchesOf(t, m, "hello"); len(got) != 0 {
		t.Errorf("a push that is refused leaves %v", got)
	}

	// Of those with nothing under way the one at zero goes that was pushed the longest time ago.
	for _, b := range []string{"runs", "old", "new"} {
		refused(b, "", app.CodeBuildFailed, "it ends here")
		<-building
		time.Sleep(2 * time.Millisecond) // the order of pushes is in milliseconds
	}
	p.runs["runs--hello"] = true
	slow := make(chan error, 1)
	go func() { _, err := pushBranch(t, m, "slow", ""); slow <- err }()
	if got := <-building; got != "slow--hello" {
		t.Fatal(got)
	}
	if got := branchesOf(t, m, "hello"); !slices.Equal(got, []string{"new", "runs", "slow"}) {
		t.Errorf("%v", got)
	}
	// An app may ask for fewer; one that is being deployed stays.
	log, err := pushBranch(t, m, "more", "[io.gitd.previews]\nlimit = 1\n")
	if app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "all of them are being deployed") || !strings.Contains(log, "Removing the preview of new") {
		t.Errorf("%v\n%s", err, log)
	}
	if got := branchesOf(t, m, "hello"); !slices.Equal(got, []string{"slow"}) {
		t.Errorf("%v", got)
	}

	// The end of the app is that of its previews, whose builds are cancelled. Nothing makes a new one meanwhile.
	if err := m.Destroy(t.Context(), app.Root, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := <-slow; app.CodeOf(err) != app.CodeSuperseded || !strings.Contains(err.Error(), "the app slow--hello was destroyed") {
		t.Error(err)
	}
	if _, err := m.o.Store.App(t.Context(), "slow--hello"); app.CodeOf(err) != app.CodeNotFound {
		t.Error(err)
	}
}

// Previews that are past their time go at a start, and one that was pushed again meanwhile stays.
func TestPreviews_Expire(t *testing.T) {
	var removed []string
	var gone []error // what the ledger says of them when Removed is called
	m := newMachine(t, nil, func(o *Options) {
		o.Platform = idle{}
		o.Remove = func(_ context.Context, a app.App) error { removed = append(removed, a.Parent+" "+a.Branch); return nil }
		o.Removed = func(ctx context.Context) {
			_, err := o.Store.App(ctx, "old--hello")
			gone = append(gone, err)
		}
	})
	past(t, m, "hello", app.StateLive, "hello-v1")
	a, err := m.o.Store.App(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	for branch, ttl := range map[string]time.Duration{"old": 0, "new": time.Hour, "kept": 0} {
		if _, _, err := m.o.Store.EnterPreview(t.Context(), app.Root, "hello", a.ID, branch, ttl, 10); err != nil {
			t.Fatal(err)
		}
	}
	asked := false
	err = m.destroy(t.Context(), app.Root, "kept--hello", func() (bool, error) { asked = true; return false, nil })
	if err != nil || !asked {
		t.Error(err)
	}
	if _, _, err := m.o.Store.EnterPreview(t.Context(), app.Root, "hello", a.ID, "kept", time.Hour, 10); err != nil {
		t.Fatal(err)
	}
	m.removeExpired(t.Context())
	if got := branchesOf(t, m, "hello"); !slices.Equal(got, []string{"kept", "new"}) || !slices.Equal(removed, []string{"hello old"}) {
		t.Errorf("%v, removed %v", got, removed)
	}
	if len(gone) != 1 || app.CodeOf(gone[0]) != app.CodeNotFound {
		t.Errorf("after it was removed: %v", gone)
	}
}

// The attack on an app that goes: a branch is pushed while it is being destroyed, or after. Nothing of it comes to be.
func TestAttack_PreviewOfDestroyed(t *testing.T) {
	removing, proceed := make(chan struct{}), make(chan struct{})
	m := newMachine(t, nil, func(o *Options) {
		o.Platform, o.Caps.Previews = idle{}, 10
		o.Remove = func(context.Context, app.App) error { removing <- struct{}{}; <-proceed; return nil }
	})
	past(t, m, "hello", app.StateLive, "hello-v1")
	a, err := m.o.Store.App(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- m.Destroy(t.Context(), app.Root, "hello") }()
	<-removing
	if _, err := pushBranch(t, m, "x", ""); app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "the app hello is being destroyed") {
		t.Error(err)
	}
	close(proceed)
	if err := <-gone; err != nil {
		t.Fatal(err)
	}
	if _, err := m.o.Store.CreateApp(t.Context(), "hello", "other"); err != nil {
		t.Fatal(err)
	}
	_, err = m.Deploy(t.Context(), app.Push{App: "hello", AppID: a.ID, By: app.Root, Ref: "refs/heads/x", Branch: "x", Commit: "c", Source: files{}, Log: app.NewLog(&strings.Builder{}), Started: time.Now()})
	if app.CodeOf(err) != app.CodeNotFound || !strings.Contains(err.Error(), "destroyed meanwhile") {
		t.Error(err)
	}
	if got := branchesOf(t, m, "hello"); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// After a crash the ref of a preview's branch is set in the repository of its app.
func TestPreviews_RecoverRefs(t *testing.T) {
	var set []string
	m := newMachine(t, nil, func(o *Options) {
		o.Platform = idle{}
		o.LiveRef = func(app.App) (string, error) { return "", nil }
		o.SetLive = func(a app.App, commit string) error {
			name, branch := a.Live()
			set = append(set, name+" "+branch+" "+commit)
			return nil
		}
	})
	past(t, m, "hello", app.StateLive, "hello-v1")
	a, err := m.o.Store.App(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.o.Store.EnterPreview(t.Context(), app.Root, "hello", a.ID, "feature/x", time.Hour, 10); err != nil {
		t.Fatal(err)
	}
	past(t, m, "feature-x--hello", app.StateLive, "feature-x--hello-v1")
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(set)
	if want := []string{"hello  c", "hello feature/x c"}; !slices.Equal(set, want) {
		t.Errorf("%q", set)
	}
}

func TestAsPreview(t *testing.T) {
	d, err := project.Parse("[io.gitd.web]\nmin-scale = 2\ntraffic-steps = [10]\n[io.gitd.web.env]\nA = \"1\"\nB = \"2\"\n[io.gitd.previews.env]\nB = \"3\"\n")
	if err != nil {
		t.Fatal(err)
	}
	p := asPreview(d, "feature/x")
	if p.Web.MinScale != 0 || p.Rollout.Strategy != app.AtOnce || p.Web.Env["A"] != "1" || p.Web.Env["B"] != "3" || p.Web.Env["GITD_ENVIRONMENT"] != "preview" || p.Web.Env["GITD_BRANCH"] != "feature/x" {
		t.Errorf("%+v", p)
	}
	if d.Web.MinScale != 2 || len(d.Web.Env) != 2 {
		t.Errorf("production changes with it: %+v", d.Web)
	}
}

// The first build of a preview begins with the cache of its app, unless that may hold a secret that previews do not have.
func TestPreviews_Cache(t *testing.T) {
	seen := make(chan build.Request, 1)
	m := newMachine(t, builderFunc(func(_ context.Context, r build.Request) (*build.Result, error) {
		seen <- r
		return nil, app.Errorf(app.CodeBuildFailed, "", "it ends here")
	}), func(o *Options) {
		o.Platform, o.Images, o.Caps.Previews, o.Config = idle{}, make(collected, 100), 9, secret.New(o.Store, filepath.Join(t.TempDir(), "key"))
	})
	past(t, m, "hello", app.StateLive, "hello-v1")
	of := func(branch string) string {
		t.Helper()
		if _, err := pushBranch(t, m, branch, ""); app.CodeOf(err) != app.CodeBuildFailed {
			t.Fatal(err)
		}
		return (<-seen).CacheOf.Name
	}
	if got := of("one"); got != "hello" {
		t.Errorf("the first build begins with the cache of %q", got)
	}
	if got := of("one"); got != "" {
		t.Errorf("the second build begins with the cache of %q", got)
	}
	a, err := m.o.Store.App(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.o.Config.Add(t.Context(), a, "dev", []app.Variable{{Name: "TOKEN", Build: true}}, secret.Values{"TOKEN": []byte("x")}, true); err != nil {
		t.Fatal(err)
	}
	if got := of("two"); got != "" {
		t.Errorf("where builds have a secret: the cache of %q", got)
	}
}
