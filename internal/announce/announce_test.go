package announce

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/local"
	"github.com/gitd-io/gitd/internal/store"
)

// listener is an app that gets events.
type listener struct {
	mu  sync.Mutex
	got []string // type and outcome or data
}

func (l *listener) ServeHTTP(_ http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, strings.TrimSpace(q.Header.Get("ce-type")+" "+q.Header.Get("ce-subject")+" "+q.Header.Get("ce-gitdoutcome")))
	if !json.Valid(body) {
		l.got = append(l.got, "no JSON")
	}
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// cut is a process that is killed once it has told, before it has written that down.
type cut struct {
	Events
	end context.CancelFunc
}

func (c cut) Announce(ctx context.Context, e event.Event, from event.Sender) (event.Receipt, error) {
	r, err := c.Events.Announce(ctx, e, from)
	c.end()
	if err == nil {
		err = context.Canceled
	}
	return r, err
}

// told is a store and brokers, with an app that listens to all.
type told struct {
	*testing.T
	store *store.Store
	p     *local.Platform
	app   listener
}

func open(t *testing.T) *told {
	x := &told{T: t}
	dir := t.TempDir()
	var err error
	if x.store, err = store.Open(filepath.Join(dir, "gitd.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.store.Close() })
	if x.p, err = local.Open(t.Context(), local.Options{File: filepath.Join(dir, "events.db"), Proxy: &x.app, Domain: "test", Log: t.Logf}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.p.Close() })
	x.p.Start()
	return x
}

// run has all told that is to be told.
func (x *told) run() {
	x.Helper()
	ctx, cancel := context.WithCancel(x.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); New(Options{Store: x.store, Events: x.p, Log: x.Logf}).Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		left, err := x.store.Untold(x.Context(), 1)
		if err == nil && len(left) == 0 {
			return
		}
		if err != nil || time.Now().After(end) {
			x.Fatal(left, err)
		}
	}
}

// release enters a release of the app shop that ends so.
func (x *told) release(kind app.Kind, end app.State) {
	x.Helper()
	r, err := x.store.AddRelease(x.Context(), app.Release{App: "shop", Key: "ann", Kind: kind})
	if err == nil {
		err = x.store.AddEvent(x.Context(), "shop", r.Version, store.Event{State: end, Digest: "sha256:ab", Repository: "shop"})
	}
	if err != nil {
		x.Fatal(err)
	}
}

// gets checks what the app has got, in any order.
func (x *told) gets(want ...string) {
	x.Helper()
	slices.Sort(want)
	var got []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = x.app.all(); len(got) >= len(want) {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		x.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What becomes of apps and releases reaches who listens, also where the process is killed before it is told, or before it is written down that it was; each once.
func TestAnnouncer(t *testing.T) {
	x := open(t)
	a, err := x.store.CreateApp(t.Context(), "shop", "ann")
	if err != nil {
		t.Fatal(err)
	}
	x.run() // no app listens: nothing is kept
	if b, err := x.p.Brokers(t.Context()); err != nil || b[0].Events != 0 {
		t.Fatal(b, err)
	}
	all := event.Trigger{Name: "all", Broker: event.DefaultBroker, Path: "/", Delivery: event.Defaults()}
	if err := x.p.SetTriggers(t.Context(), event.Owner{App: "ops", ID: 99, Release: 1}, []event.Trigger{all}); err != nil {
		t.Fatal(err)
	}
	x.release(app.KindPush, app.StateLive) // and no process tells it
	ctx, cancel := context.WithCancel(t.Context())
	New(Options{Store: x.store, Events: cut{x.p, cancel}, Log: t.Logf}).Run(ctx) // this one has told the first, and does not know it
	x.run()
	x.release(app.KindPush, app.StateFailed)
	x.release(app.KindConfig, app.StateLive)
	x.release(app.KindRollback, app.StateLive)
	x.release(app.KindPush, app.StateSuperseded)
	x.release(app.KindPush, app.StateReady)
	if err := x.store.DeleteApp(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	x.run()
	x.gets(runStarted+" shop/v1", runFinished+" shop/v1 success", deployed+" shop",
		runStarted+" shop/v2", runFinished+" shop/v2 failure",
		runStarted+" shop/v3", runFinished+" shop/v3 success", upgraded+" shop",
		runStarted+" shop/v4", runFinished+" shop/v4 success", rolledBack+" shop",
		runStarted+" shop/v5", runFinished+" shop/v5 cancel",
		runStarted+" shop/v6", runFinished+" shop/v6 success",
		removed+" shop", appDestroyed+" shop")
	kept, err := x.p.List(t.Context(), event.Query{Limit: 100})
	if err != nil || len(kept) != 17 {
		t.Errorf("%d are kept, %v", len(kept), err)
	}
	for _, r := range kept {
		if err := r.Event.Check(); err != nil || r.From != (event.Sender{Kind: event.FromSource, Name: "gitd", ID: a.ID}) {
			t.Errorf("%+v: %v", r.From, err)
		}
	}
}

// An event has the form of CDEvents: the same id, source, type and time in both envelopes, and what its subject must have.
func TestEventsOf(t *testing.T) {
	u := store.Untold{ID: "a1", At: time.UnixMilli(1700000000123), What: string(app.StateLive), App: app.App{Name: "shop", ID: 7, Owner: "ann"},
		Facts: store.Facts{Version: 12, Kind: app.KindPush, Commit: "c0ffee", Key: "ann", Digest: "sha256:0b31", Revision: "shop-v12", First: true}}
	all, err := eventsOf(&u)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	const want = `{"context":{"version":"0.4.1","id":"a1-service","source":"/apps/shop","type":"dev.cdevents.service.deployed.0.2.0","timestamp":"2023-11-14T22:13:20.123Z"},` +
		`"subject":{"id":"shop","source":"/apps/shop","type":"service","content":{"artifactId":"pkg:oci/shop@sha256%3A0b31","environment":{"id":"production"}}},` +
		`"customData":{"app":"shop","release":12,"kind":"push","commit":"c0ffee","by":"ann","revision":"shop-v12"},"customDataContentType":"application/json"}`
	e := all[1]
	if string(e.Data) != want {
		t.Errorf("%s\nwant\n%s", e.Data, want)
	}
	if e.ID != "a1-service" || e.Source != "/apps/shop" || e.Type != deployed || e.Subject != "shop" || e.Time != "2023-11-14T22:13:20.123Z" || e.ContentType != "application/cdevents+json" ||
		e.Extensions[event.AppAttribute] != "shop" || e.Extensions[event.ReleaseAttribute] != "12" {
		t.Errorf("%+v", e)
	}
	if err := e.CheckSender(event.Sender{Kind: event.FromApp, Name: "other"}); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("another app sends it: %v", err)
	}
	if stripped := e.From(event.Sender{Kind: event.FromApp}); len(stripped.Extensions) != 0 || len(e.Extensions) != 2 {
		t.Errorf("%+v, %+v", stripped.Extensions, e.Extensions)
	}
}
