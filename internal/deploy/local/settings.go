package local

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/ptr"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/local/scale"
	"github.com/gitd-io/gitd/internal/proxy"
)

// settings are what a template says of running its instances. They do not change.
type settings struct {
	scaling  scale.Options
	fewest   int // min-scale
	port     int
	http1    bool // the port's name says that the app speaks HTTP/1 alone
	h2c      bool // the port's name says that the app speaks HTTP/2 without TLS
	probe    *corev1.Probe
	deadline time.Duration // for an instance to become ready
	noWeb    bool          // it runs workers alone
}

// settingsOf reads them from a template with Knative's defaults.
func (p *Platform) settingsOf(t *servingv1.RevisionTemplateSpec) (settings, error) {
	if len(t.Spec.Containers) != 1 {
		return settings{}, fmt.Errorf("it has %d containers", len(t.Spec.Containers))
	}
	c := &t.Spec.Containers[0]
	s := settings{port: 8080, probe: c.ReadinessProbe, deadline: p.opts.ProgressDeadline, noWeb: deploy.WithoutWeb(t)}
	if len(c.Ports) > 0 { // the names are Knative's
		s.port = int(c.Ports[0].ContainerPort)
		s.h2c = c.Ports[0].Name == "h2c"
		s.http1 = c.Ports[0].Name == "http1"
	}
	if v := t.Annotations[serving.ProgressDeadlineAnnotationKey]; v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			return settings{}, err
		}
		s.deadline = d
	}
	s.scaling = scale.Options{Annotations: t.Annotations, Concurrency: ptr.Int64Value(t.Spec.ContainerConcurrency),
		Grace: p.opts.ScaleToZeroGrace, Most: p.opts.MaxScale}
	scaler, err := scale.New(s.scaling, 0, time.Now())
	if err != nil {
		return settings{}, err
	}
	s.fewest, _ = scaler.Bounds()
	return s, nil
}

// newRevision makes a revision that does not run yet; started says that an instance of it was ready once.
func (p *Platform) newRevision(service string, t template, started bool) (*revision, error) {
	s, err := p.settingsOf(&t.Template)
	if err != nil {
		return nil, err
	}
	r := &revision{p: p, service: service, name: t.Template.Name, template: t, settings: s, started: started,
		poked: make(chan struct{}, 1), stopped: make(chan struct{}), waiters: map[chan error]struct{}{}, workers: map[*worker]struct{}{}}
	r.proxy = p.proxy.NewRevision(key(service, &t), proxy.RevisionOptions{
		App:         service,
		Name:        t.Template.Name,
		Concurrency: int(s.scaling.Concurrency),
		Timeout:     time.Duration(ptr.Int64Value(t.Template.Spec.TimeoutSeconds)) * time.Second,
		Wake:        r.poke,
		HTTP1:       s.http1,
		H2C:         t.H2C,
		Learned:     r.speaksH2C,
		NoWeb:       s.noWeb,
	})
	return r, nil
}

// key names a revision to the proxy. One that was deleted and is made again is another one.
func key(service string, t *template) string {
	return fmt.Sprintf("%s/%s/%d", service, t.Template.Name, t.Created.UnixNano())
}

// speaksH2C records that the app speaks HTTP/2, for the next process. It does not block.
func (r *revision) speaksH2C() {
	r.p.tasks.Go(func() {
		defer r.p.lock(r.service)()
		if now, err := r.p.find(r.service, r.name); err != nil || now != r {
			return
		}
		t := r.template
		t.H2C = true
		if err := r.p.store.saveRevision(r.service, t); err != nil {
			r.p.opts.Log("deploy: keep that %s speaks HTTP/2: %v", r.name, err)
		}
	})
}
