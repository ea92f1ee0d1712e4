package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// slowToFind is a platform that takes long to say what it has.
type slowToFind struct {
	deploy.Platform
	asked, answer chan struct{}
}

func (p *slowToFind) Get(ctx context.Context, _ string) (*servingv1.Service, error) {
	close(p.asked)
	select {
	case <-p.answer:
	case <-ctx.Done():
	}
	return nil, deploy.ErrNotFound
}

type noEngine struct{}

func (noEngine) RunImage() (string, string) { return "", "" }
func (noEngine) Build(context.Context, build.Request) (*build.Result, error) {
	return nil, errors.New("nothing is built here")
}
func (noEngine) Expect()                                  {}
func (noEngine) PurgeCache(context.Context, string) error { return nil }
func (noEngine) Close() error                             { return nil }

// fakeRunner has a platform and answers requests.
type fakeRunner struct {
	deploy deploy.Platform
	server *http.Server
}

func (r *fakeRunner) platform() deploy.Platform                  { return r.deploy }
func (r *fakeRunner) warnings(context.Context) ([]string, error) { return nil, nil }

func (r *fakeRunner) images() images                     { return nil }
func (r *fakeRunner) events() event.Platform             { return nil }
func (r *fakeRunner) url(string) string                  { return "" }
func (r *fakeRunner) own(context.Context, string) string { return "" }
func (r *fakeRunner) serve(l Listeners) error {
	go func() { _ = r.server.Serve(l.HTTP) }()
	return nil
}
func (r *fakeRunner) leave(ctx context.Context, _ Listeners) { _ = r.server.Shutdown(ctx) }
func (r *fakeRunner) takeRequests(context.Context) error     { return nil }
func (r *fakeRunner) webhookURL(_, _ string) string          { return "" }
func (r *fakeRunner) entrance(Listeners) string              { return "here" }

// factoryFunc is an engineFactory that has no cache.
type factoryFunc func(context.Context, *app.Log) (engine, error)

func (f factoryFunc) make(ctx context.Context, log *app.Log) (engine, error) { return f(ctx, log) }
func (factoryFunc) removeCache(context.Context, string) error                { return nil }

// Apps' requests are answered while the server is still at what the process before it left half done; commands and pushes wait. A server that is told to
// stop meanwhile ends well.
func TestServe_AnswersBeforeItHasRecovered(t *testing.T) {
	for _, stop := range []bool{false, true} {
		s := &Server{o: offlineOptions(t.TempDir(), nil, t.Logf), builds: &builds{ready: make(chan struct{})}, started: make(chan struct{})}
		s.stopping, s.stop = context.WithCancel(t.Context())
		var err error
		if s.store, err = store.Open(s.path(databaseFile)); err != nil {
			t.Fatal(err)
		}
		s.onClose(s.store.Close)
		s.rights = &eventRights{store: s.store, log: t.Logf}
		s.config = secret.New(s.store, s.path(secretFile))
		if _, err := s.store.CreateApp(t.Context(), "hello", "dev"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.AddRelease(t.Context(), app.Release{App: "hello", Commit: "c"}); err != nil {
			t.Fatal(err)
		}
		p := &slowToFind{asked: make(chan struct{}), answer: make(chan struct{})}
		s.runner = &fakeRunner{p, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the app") })}}
		s.factory = factoryFunc(func(context.Context, *app.Log) (engine, error) { return noEngine{}, nil })
		var l Listeners
		for _, at := range []*net.Listener{&l.SSH, &l.Control, &l.HTTP} {
			if *at, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, l, &http.Server{}, app.NewLog(io.Discard)) }()
		<-p.asked
		a, err := http.Get("http://" + l.HTTP.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(a.Body); err != nil || string(b) != "the app" {
			t.Errorf("%q, %v", b, err)
		}
		a.Body.Close()
		if s.services != nil {
			t.Error("commands are taken before the server has recovered")
		}
		if !stop {
			close(p.answer)
			for r := (app.Release{}); r.State != app.StateFailed; time.Sleep(10 * time.Millisecond) {
				if r, err = s.store.Ledger("hello").Find(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("stopped early: %v; Serve: %v", stop, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
