package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/sandbox"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/local"
	"github.com/gitd-io/gitd/internal/domain"
	"github.com/gitd-io/gitd/internal/event"
	brokers "github.com/gitd-io/gitd/internal/event/local"
	"github.com/gitd-io/gitd/internal/registry"
	host "github.com/gitd-io/gitd/internal/sandbox"
)

// machine is the runner on this machine.
type machine struct {
	s        *Server
	host     *host.Host
	registry *registry.Registry
	layers   *host.Layers
	local    *local.Platform
	brokers  *brokers.Platform
}

// openMachine opens what runs apps on this machine.
func (s *Server) openMachine(ctx context.Context) (runner, error) {
	c := &s.o.Config
	m := &machine{s: s}
	var err error
	if m.host, err = host.Open(ctx, host.Options{Dir: s.path("sandbox"), UIDs: host.UIDs(c.Machine.UIDs), Log: s.o.Log}); err != nil {
		return nil, err
	}
	s.onClose(m.host.Close)
	if m.registry, err = registry.Open(ctx, s.path("registry")); err != nil {
		return nil, err
	}
	s.onClose(m.registry.Close)
	shared, err := builder.SharedLayers("")
	if err != nil {
		return nil, err
	}
	m.layers = host.OpenLayers(s.path("layers"), shared)
	domains, err := domain.Routes(ctx, s.store)
	if err != nil {
		return nil, err
	}
	m.brokers, err = brokers.Open(ctx, brokers.Options{File: s.path(eventsFile), Domain: c.Server.Domain, Log: s.o.Log, Metrics: s.o.metrics().Events, Rights: s.rights, Away: func(app string) bool { return m.local.Away(app) },
		Proxy: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.local.Inside(w, r) })}) // it is there before the first delivery
	if err != nil {
		return nil, err
	}
	s.onClose(m.brokers.Close)
	m.local, err = local.Open(ctx, local.Options{
		Sink: func(app string, id int64) http.Handler { return m.brokers.Inside(event.Owner{App: app, ID: id}) },
		Dir:  s.path("platform"), Domain: c.Server.Domain, Host: m.host, Registry: m.registry,
		Layers: m.layers, Config: s.config, Log: s.o.Log, TrustedProxies: c.HTTP.TrustedProxies, Domains: domains, Secure: s.secure(),
		Socket: s.path(proxyFile), Adopted: s.o.Adopted, Held: s.o.Held, Keeps: s.o.Offline, Limits: connectionLimits(s.o), Own: map[string]http.Handler{event.Host: s.takeEvents(m.brokers, m.brokers.Outside())},
		Prepared: cmp.Or(c.Machine.Prepared, -1),
	})
	if err != nil {
		return nil, err
	}
	s.onClose(m.local.Close)
	s.onClose(m.brokers.Stop) // before the apps
	if _, err := s.store.App(ctx, event.Host); err == nil {
		s.o.Log("events: the app %s has the name at which brokers take events: requests to %[1]s.%s no longer reach it; push it under another name, or give it a domain: gitd domains add %[1]s DOMAIN", event.Host, c.Server.Domain)
	}
	return m, nil
}

func (m *machine) platform() deploy.Platform { return m.local }

func (m *machine) events() event.Platform { return m.brokers }

func (m *machine) warnings(context.Context) ([]string, error) { return nil, nil }

func (m *machine) images() images { return m.registry }

func (m *machine) url(name string) string { return machineURL(m.s.o, name) }

func (m *machine) own(_ context.Context, name string) string {
	return name + "." + m.s.o.Config.Server.Domain
}

func (m *machine) serve(l Listeners) error { return m.local.Serve(l.HTTP, l.HTTPS) }

// handOverTime is how long the proxy serves without a gitd that was told to end, where no service manager says that the service is stopped.
const handOverTime = 30 * time.Second

func (m *machine) leave(ctx context.Context, _ Listeners) {
	if m.s.o.HandsOver {
		m.local.Stay(ctx, handOverTime)
		return
	}
	m.local.Shutdown(ctx)
}

func (m *machine) entrance(l Listeners) string {
	if l.HTTPS != nil {
		return "http on " + l.HTTP.Addr().String() + ", https on " + l.HTTPS.Addr().String()
	}
	return "http on " + l.HTTP.Addr().String()
}

// machineURL is where an app on this machine answers.
func machineURL(o Options, name string) string {
	domain := o.Config.Server.Domain
	if o.HTTPPort != 0 && o.HTTPPort != 80 {
		return fmt.Sprintf("http://%s.%s:%d", name, domain, o.HTTPPort)
	}
	return "http://" + name + "." + domain
}

// sandboxFactory makes the engine that builds in containers of this machine.
func (s *Server) sandboxFactory() engineFactory { return &sandboxFactory{s, s.runner.(*machine)} }

type sandboxFactory struct {
	s *Server
	m *machine
}

func (f *sandboxFactory) make(ctx context.Context, log *app.Log) (engine, error) {
	b, err := builder.Ensure(ctx, builder.Options{Ref: f.s.o.Config.Builds.Builder, Log: log})
	if err != nil {
		return nil, err
	}
	e, err := sandbox.New(ctx, sandbox.Options{Dir: f.s.path("builds"), Host: f.m.host, Registry: f.m.registry, Builder: b, Layers: f.m.layers,
		MinFree: f.s.o.Config.Server.MinFree, Log: f.s.o.Log})
	if err != nil {
		return nil, err
	}
	return sandboxEngine{e}, nil
}

func (f *sandboxFactory) removeCache(_ context.Context, name string) error {
	return sandbox.RemoveCache(f.s.path("builds"), name, f.s.o.Log)
}

// sandboxEngine adds the context that an engine's PurgeCache takes.
type sandboxEngine struct{ *sandbox.Engine }

// PurgeCache implements engine.
func (e sandboxEngine) PurgeCache(_ context.Context, app string) error {
	return e.Engine.PurgeCache(app)
}
