package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
)

// Apply implements deploy.Platform.
func (p *Platform) Apply(ctx context.Context, svc *servingv1.Service) error {
	want, err := complete(ctx, svc)
	if err != nil {
		return err
	}
	defer p.lock(want.Name)()
	if p.ctx.Err() != nil {
		return app.Errorf(app.CodeUnavailable, "try again in a moment", "the server is shutting down")
	}
	p.mu.RLock()
	old := p.services[want.Name]
	p.mu.RUnlock()
	p.setMeta(want, old)
	s := &service{object: want, revisions: map[string]*revision{}}
	if old != nil {
		maps.Copy(s.revisions, old.revisions)
		s.maintenance = old.maintenance
	}
	created, err := p.ensureRevision(s)
	if err != nil {
		return err
	}
	if s.traffic, err = resolveTraffic(want, s.revisions); err != nil {
		return err
	}
	if err := p.save(want, created); err != nil {
		return err
	}
	if old != nil && old.stopped {
		if err := p.store.saveStopped(want.Name, false); err != nil {
			return fmt.Errorf("start %s: %w", want.Name, err)
		}
	}
	defer p.proxy.Settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.services[want.Name] = s
	if created != nil {
		p.run(created)
	}
	p.publish()
	return nil
}

// setMeta sets what a cluster would: the time of creation, and the generation, which counts changes of the spec.
func (p *Platform) setMeta(want *servingv1.Service, old *service) {
	want.Generation, want.CreationTimestamp = 1, metav1.NewTime(time.Now().UTC())
	if old == nil {
		return
	}
	want.Generation, want.CreationTimestamp = old.object.Generation, old.object.CreationTimestamp
	if !equality.Semantic.DeepEqual(old.object.Spec, want.Spec) {
		want.Generation++
	}
}

// ensureRevision adds the template's revision to s where it does not exist, and then returns it. One that exists must be the same.
func (p *Platform) ensureRevision(s *service) (created *revision, err error) {
	want := s.object
	name := want.Spec.Template.Name
	if r := s.revisions[name]; r != nil {
		if !equality.Semantic.DeepEqual(r.template.Template, want.Spec.Template) {
			return nil, deploy.Invalid(want.Name, fmt.Sprintf("the revision %s exists with different content; a revision cannot change", name))
		}
		return nil, nil
	}
	created, err = p.newRevision(want.Name, template{Template: want.Spec.Template, Created: time.Now().UTC(), Generation: want.Generation}, false)
	if err != nil {
		return nil, deploy.Invalid(want.Name, err.Error())
	}
	s.revisions[name] = created
	return created, nil
}

// save stores a Service, and the revision that was created for it, if any: both or neither.
func (p *Platform) save(want *servingv1.Service, created *revision) error {
	if created != nil {
		if err := p.store.saveRevision(want.Name, created.template); err != nil {
			return fmt.Errorf("save revision %s: %w", created.name, err)
		}
	}
	if err := p.store.saveService(want); err != nil {
		if created != nil {
			_ = p.store.removeRevision(want.Name, created.name)
		}
		return fmt.Errorf("save service %s: %w", want.Name, err)
	}
	return nil
}

// Get implements deploy.Platform.
func (p *Platform) Get(_ context.Context, name string) (*servingv1.Service, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, err := p.service(name)
	if err != nil {
		return nil, err
	}
	return p.withStatus(s), nil
}

// List implements deploy.Platform.
func (p *Platform) List(context.Context) ([]*servingv1.Service, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make([]*servingv1.Service, 0, len(p.services))
	for _, name := range slices.Sorted(maps.Keys(p.services)) {
		out = append(out, p.withStatus(p.services[name]))
	}
	return out, nil
}

// withStatus returns a copy of the Service with its current status. The caller holds mu.
func (p *Platform) withStatus(s *service) *servingv1.Service {
	svc := s.object.DeepCopy()
	st := &svc.Status
	st.InitializeConditions()
	st.ObservedGeneration = svc.Generation
	st.URL = p.url(svc.Name)
	st.Address = &duckv1.Addressable{URL: st.URL}
	st.LatestCreatedRevisionName = svc.Spec.Template.Name
	for _, t := range s.traffic {
		t = *t.DeepCopy()
		if t.Tag != "" {
			t.URL = p.url(t.Tag + "-" + svc.Name)
		}
		st.Traffic = append(st.Traffic, t)
	}
	var newest time.Time
	for _, r := range s.revisions {
		r.mu.Lock()
		if r.started && !r.template.Created.Before(newest) {
			newest = r.template.Created
			st.LatestReadyRevisionName = r.name
		}
		r.mu.Unlock()
	}
	return svc
}

func (p *Platform) url(label string) *apis.URL {
	u := apis.HTTP(label + "." + p.opts.Domain)
	if p.opts.Port != 0 && p.opts.Port != 80 {
		u.Host = fmt.Sprintf("%s:%d", u.Host, p.opts.Port)
	}
	return u
}

// Delete implements deploy.Platform.
func (p *Platform) Delete(ctx context.Context, name string) error {
	defer p.lock(name)()
	p.mu.RLock()
	s := p.services[name]
	p.mu.RUnlock()
	if err := p.removeRuns(ctx, name); err != nil {
		return fmt.Errorf("stop the runs of %s: %w", name, err)
	}
	if s == nil {
		return fmt.Errorf("service %s: %w", name, deploy.ErrNotFound)
	}
	if err := p.store.removeService(name); err != nil {
		return fmt.Errorf("remove service %s: %w", name, err)
	}
	p.mu.Lock()
	delete(p.services, name)
	p.publish()
	p.mu.Unlock()
	p.proxy.Settle()
	errs := make(chan error, len(s.revisions))
	for _, r := range s.revisions {
		go func() { errs <- r.close(ctx) }()
	}
	var first error
	for range s.revisions {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return fmt.Errorf("stop the instances of %s: %w", name, first)
	}
	if err := disk.RemoveAll(p.logDir(name, "")); err != nil {
		p.opts.Log("deploy: %v", err)
	}
	p.prune()
	return nil
}

// DeleteRevision implements deploy.Platform. It holds the Service's lock only to detach the revision: other changes to the Service do not
// wait for the revision's last requests.
func (p *Platform) DeleteRevision(ctx context.Context, name, revisionName string) error {
	r, err := p.detach(name, revisionName)
	if err != nil {
		return err
	}
	if err := r.close(ctx); err != nil {
		return fmt.Errorf("stop the instances of %s: %w", revisionName, err)
	}
	p.mu.Lock()
	delete(p.processes, r)
	p.mu.Unlock()
	defer p.lock(name)()
	if _, err := p.find(name, revisionName); err == nil { // it was created again meanwhile
		return nil
	}
	if err := disk.RemoveAll(p.logDir(name, revisionName)); err != nil {
		p.opts.Log("deploy: %v", err)
	}
	p.prune()
	return nil
}

// detach removes a revision from its Service, also on disk.
func (p *Platform) detach(name, revisionName string) (*revision, error) {
	defer p.lock(name)()
	r, err := p.find(name, revisionName)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	s := p.services[name]
	for _, t := range s.traffic {
		if t.RevisionName != revisionName {
			continue
		}
		p.mu.Unlock()
		what := fmt.Sprintf("gets %d%% of the traffic", percent(t))
		if t.Tag != "" {
			what = "has the tag " + t.Tag
		}
		return nil, app.Errorf(app.CodeInvalidInput, "take its traffic and its tags away first", "the revision %s cannot be deleted: it %s", revisionName, what)
	}
	revisions := maps.Clone(s.revisions)
	delete(revisions, revisionName)
	p.services[name] = &service{object: s.object, traffic: s.traffic, revisions: revisions, stopped: s.stopped, maintenance: s.maintenance}
	p.processes[r] = struct{}{}
	p.publish()
	p.mu.Unlock()
	if err := p.store.removeRevision(name, revisionName); err != nil {
		p.mu.Lock()
		delete(p.processes, r)
		p.mu.Unlock()
		return nil, fmt.Errorf("remove revision %s: %w", revisionName, err)
	}
	return r, nil
}

// WaitReady implements deploy.Platform.
func (p *Platform) WaitReady(ctx context.Context, service, revision string) error {
	r, err := p.find(service, revision)
	if err != nil {
		return err
	}
	if err := r.waitReady(ctx); err != nil {
		return err
	}
	p.proxy.Settle() // otherwise the check that follows may come to the proxy before the instance, and wait for it: that counts as a cold start
	return nil
}

// WaitDrained implements deploy.Platform.
func (p *Platform) WaitDrained(ctx context.Context, service, revision string) error {
	r, err := p.find(service, revision)
	if err != nil {
		return err
	}
	return r.proxy.Drained(ctx)
}

// Describe implements deploy.Platform. The oldest revision comes first.
func (p *Platform) Describe(_ context.Context, name string) ([]deploy.RevisionStatus, error) {
	p.proxy.Refresh()
	p.mu.RLock()
	defer p.mu.RUnlock()
	s, err := p.service(name)
	if err != nil {
		return nil, err
	}
	revisions := slices.SortedFunc(maps.Values(s.revisions), func(a, b *revision) int {
		if c := a.template.Created.Compare(b.template.Created); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	out := make([]deploy.RevisionStatus, len(revisions))
	for i, r := range revisions {
		out[i] = r.status(s.traffic)
	}
	return out, nil
}

// prune removes, in the background, the unpacked layers that no revision uses any more.
func (p *Platform) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pruning {
		p.pruneDue = true
		return
	}
	p.pruning = true
	p.tasks.Go(func() {
		for {
			p.pruneOnce()
			p.mu.Lock()
			again := p.pruneDue && p.ctx.Err() == nil
			p.pruneDue, p.pruning = false, again
			p.mu.Unlock()
			if !again {
				return
			}
		}
	})
}

func (p *Platform) pruneOnce() {
	mark := p.opts.Layers.Mark() // layers unpacked after it stay, for revisions that are created meanwhile
	p.mu.RLock()
	var all []*revision
	all = slices.AppendSeq(all, maps.Keys(p.processes))
	for _, s := range p.services {
		for _, r := range s.revisions {
			all = append(all, r)
		}
	}
	p.mu.RUnlock()
	var keep []v1.Image
	for _, r := range all {
		repository, digest, err := deploy.ImageReference(r.template.Template.Spec.Containers[0].Image)
		if err != nil {
			continue
		}
		img, err := p.opts.Registry.Image(repository, digest)
		if err == nil {
			keep = append(keep, img)
			continue
		}
		r.mu.Lock()
		used := r.image != nil || len(r.instances) > 0 || len(r.workers) > 0
		r.mu.Unlock()
		if used { // it needs its layers, and which they are is unknown
			p.opts.Log("deploy: no layers are removed while %s runs without its image: %v", r.name, err)
			return
		}
	}
	if err := p.opts.Layers.Prune(mark, keep); err != nil {
		p.opts.Log("deploy: remove unused layers: %v", err)
	}
}
