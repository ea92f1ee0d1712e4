package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
)

// A start sets the refs that are wrong, and no others: each costs a process and syncs.
func TestMachine_RecoverSetsWrongRefs(t *testing.T) {
	refs := map[string]string{"right": "c2", "behind": "c1", "unreadable": "x"}
	var set []string
	m := newMachine(t, nil, func(o *Options) {
		o.LiveRef = func(a app.App) (string, error) {
			if a.Name == "unreadable" {
				return "", fmt.Errorf("the ref holds %q", refs[a.Name])
			}
			return refs[a.Name], nil
		}
		o.SetLive = func(a app.App, commit string) error { set = append(set, a.Name+" "+commit); return nil }
	})
	for _, name := range []string{"right", "behind", "unreadable", "none", "new"} {
		if _, err := m.o.Store.EnsureApp(t.Context(), name, "dev"); err != nil {
			t.Fatal(err)
		}
		for v := 1; v <= 2 && name != "new"; v++ {
			r, err := m.o.Store.AddRelease(t.Context(), app.Release{App: name, Commit: fmt.Sprint("c", v)})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.o.Store.AddEvent(t.Context(), name, r.Version, store.Event{State: app.StateLive}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(set)
	if want := []string{"behind c2", "none c2", "unreadable c2"}; !slices.Equal(set, want) {
		t.Errorf("set %q, want %q", set, want)
	}
}

// meeting is a platform that answers when it was asked by as many as it expects.
type meeting struct {
	deploy.Platform
	missing atomic.Int32
	all     chan struct{}
}

func (p *meeting) Get(context.Context, string) (*servingv1.Service, error) {
	if p.missing.Add(-1) == 0 {
		close(p.all)
	}
	select {
	case <-p.all:
		return nil, deploy.ErrNotFound
	case <-time.After(time.Minute):
		return nil, errors.New("asked by one after the other")
	}
}

// Apps are recovered beside one another; the releases of one app in their order.
func TestMachine_RecoverTogether(t *testing.T) {
	p := &meeting{all: make(chan struct{})}
	p.missing.Store(recoverAtOnce)
	m := newMachine(t, nil, func(o *Options) { o.Platform = p })
	for n := range recoverAtOnce {
		name := fmt.Sprint("app-", n)
		if _, err := m.o.Store.EnsureApp(t.Context(), name, "dev"); err != nil {
			t.Fatal(err)
		}
		if _, err := m.o.Store.AddRelease(t.Context(), app.Release{App: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.all:
	default:
		t.Error("they were not recovered together")
	}
	if open, err := m.o.Store.Unfinished(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("%d unfinished, %v", len(open), err)
	}
}

// stuck is a registry whose collection does not end before it is told to.
type stuck struct {
	entered chan struct{}
	leave   chan struct{}
	since   time.Time
}

func (s *stuck) Collect(_ context.Context, _ registry.Needed, since time.Time) (int64, error) {
	s.since = since
	s.entered <- struct{}{}
	<-s.leave
	return 0, nil
}

func (s *stuck) CollectRepository(context.Context, string, []string, time.Time) error { return nil }

func buildOf(building, proceed chan struct{}) func(context.Context, build.Request) (*build.Result, error) {
	return func(context.Context, build.Request) (*build.Result, error) {
		building <- struct{}{}
		<-proceed
		return nil, app.Errorf(app.CodeBuildFailed, "", "done")
	}
}

// A push does not wait for a collection that is under way, and a collection does not wait for builds: it leaves alone what they may have put there.
func TestMachine_SweepBesideBuilds(t *testing.T) {
	images := &stuck{make(chan struct{}), make(chan struct{}), time.Time{}}
	building, proceed := make(chan struct{}), make(chan struct{})
	m := newMachine(t, builderFunc(buildOf(building, proceed)), func(o *Options) { o.Images = images })
	before := time.Now()
	var pushes sync.WaitGroup
	pushes.Go(func() { _, _ = push(context.Background(), m, "first", "c") })
	<-building
	began := time.Now()
	var sweep sync.WaitGroup
	sweep.Go(func() { m.Sweep(context.Background()) })
	<-images.entered // beside the build
	pushes.Go(func() { _, _ = push(context.Background(), m, "second", "c") })
	<-building // beside the collection
	if images.since.Before(before) || images.since.After(began) {
		t.Errorf("images since %s are left alone; the build began between %s and %s", images.since, before, began)
	}
	close(images.leave)
	sweep.Wait()
	close(proceed)
	pushes.Wait()
	ended := time.Now()
	if since := m.leases.oldest(); since.Before(ended) {
		t.Errorf("a build that has ended counts since %s", since)
	}
}

// noted is called with each collection.
type noted func()

func (n noted) Collect(context.Context, registry.Needed, time.Time) (int64, error) {
	n()
	return 0, nil
}

func (noted) CollectRepository(context.Context, string, []string, time.Time) error { return nil }

// Everything is swept once an hour; sooner where it is asked for, and not again and again.
func TestMachine_SweepsHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		m := New(Options{Images: noted(func() { at = append(at, time.Since(began)) }), LogDir: t.TempDir(), Log: t.Logf})
		m.running.Go(m.sweepOften)
		time.Sleep(2*time.Hour + 30*time.Minute) // 1m, 1h1m, 2h1m
		for range 100 {
			m.askSweep() // once, and soon
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		for range 10 {
			m.askSweep()
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		m.Close()
		var got []time.Duration
		for _, d := range at {
			got = append(got, d.Round(time.Minute))
		}
		if want := []time.Duration{time.Minute, 61 * time.Minute, 121 * time.Minute, 150 * time.Minute, 155 * time.Minute}; !slices.Equal(got, want) {
			t.Errorf("swept at %v, want %v", got, want)
		}
	})
}

// shifted is a platform on which all traffic is on one revision.
type shifted struct {
	deploy.Platform
	to string
}

func (p shifted) Get(context.Context, string) (*servingv1.Service, error) {
	all := int64(100)
	s := &servingv1.Service{}
	s.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: p.to, Percent: &all}}
	return s, nil
}

func (shifted) Maintenance(context.Context, string) (*deploy.Maintenance, error) { return nil, nil }

func (shifted) SetWorkers(context.Context, *servingv1.Service, []deploy.Worker) error { return nil }

// A change of configuration whose server stopped when all traffic was on it is live, and its configuration is the current one.
func TestMachine_RecoverConfiguration(t *testing.T) {
	m := newMachine(t, nil, func(o *Options) {
		o.Platform = shifted{to: "hello-v1"}
		o.Config = secret.New(o.Store, filepath.Join(t.TempDir(), "key"))
	})
	a, err := m.o.Store.CreateApp(t.Context(), "hello", "dev")
	if err != nil {
		t.Fatal(err)
	}
	for i, current := range []bool{true, false} {
		if _, err := m.o.Config.Add(t.Context(), a, "dev", nil, secret.Values{}, current); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := m.o.Store.AddRelease(t.Context(), app.Release{App: "hello", Kind: app.KindConfig}); err != nil {
		t.Fatal(err)
	}
	s := &servingv1.Service{}
	s.Name = "hello"
	s.Spec.Template.Spec.Containers = []corev1.Container{{Image: "hello@sha256:1"}}
	deploy.SetConfiguration(&s.Spec.Template, "hello", 2)
	manifest, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []store.Event{{State: app.StateStarting, Revision: "hello-v1", Service: manifest}, {State: app.StateShifting}} {
		if err := m.o.Store.AddEvent(t.Context(), "hello", 1, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := m.o.Store.CurrentConfiguration(t.Context(), a.ID); err != nil || c.Version != 2 {
		t.Errorf("the current configuration is %d, %v", c.Version, err)
	}
}
