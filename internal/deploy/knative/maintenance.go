package knative

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"knative.dev/pkg/ptr"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Maintenance on a cluster is a revision of the Service that answers every request with 503, or holds it (hold.go), and has all the traffic that is not asked for by a tag. The
// traffic that the Service would have is kept in an annotation. Whatever reads the Service (find) sees that one, and whatever changes it (wanted) keeps
// both: for rollouts, the Service is as it always is.
const (
	maintenanceNote = "gitd.io/maintenance"
	pageSuffix      = "-page" // after the Service's name: the page's revision
)

// masked is what the annotation holds.
type masked struct {
	deploy.Maintenance
	Traffic []servingv1.TrafficTarget `json:"traffic"` // that the Service would have
}

// maintained returns what a Service of the cluster says of its maintenance; nil for none.
func maintained(live *servingv1.Service) (*masked, error) {
	text := live.Annotations[maintenanceNote]
	if text == "" {
		return nil, nil
	}
	m := &masked{}
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("the annotation %s of the Service %s: %w", maintenanceNote, live.Name, err)
	}
	return m, nil
}

// unmask makes a Service what it would be without maintenance.
func unmask(live *servingv1.Service) error {
	m, err := maintained(live)
	if m == nil || err != nil {
		return err
	}
	status := make([]servingv1.TrafficTarget, len(m.Traffic))
	for i, t := range m.Traffic {
		status[i] = *t.DeepCopy()
		for _, now := range live.Status.Traffic {
			if t.Tag != "" && now.Tag == t.Tag && now.RevisionName == t.RevisionName {
				status[i].URL = now.URL
			}
		}
	}
	live.Spec.Traffic, live.Status.Traffic = m.Traffic, status
	delete(live.Annotations, maintenanceNote)
	return nil
}

// maskKey is for the change of a Service that turns maintenance on (a *masked) or off (nil).
type maskKey struct{}

// mask has a Service that is to be applied keep the maintenance of the live one, or take the one of the context.
func mask(ctx context.Context, want, live *servingv1.Service) error {
	m, changes := ctx.Value(maskKey{}).(*masked)
	if !changes && live != nil {
		var err error
		if m, err = maintained(live); err != nil {
			return err
		}
	}
	if m == nil {
		if live != nil {
			if _, was := live.Annotations[maintenanceNote]; was { // an applied map that becomes empty would go with what Knative has put into it
				want.Annotations = map[string]string{maintenanceNote: ""}
			}
		}
		return nil
	}
	kept := *m
	kept.Traffic = want.Spec.Traffic
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[maintenanceNote] = string(text)
	want.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: kept.page(want.Name), Percent: ptr.Int64(100), LatestRevision: ptr.Bool(false)}}
	for _, t := range kept.Traffic {
		if t.Tag != "" {
			t.Percent = ptr.Int64(0)
			want.Spec.Traffic = append(want.Spec.Traffic, t)
		}
	}
	return nil
}

// SetMaintenance implements deploy.Platform.
func (p *Platform) SetMaintenance(ctx context.Context, service string, m *deploy.Maintenance) error {
	defer p.lock(service)()
	ctx = p.calling(ctx)
	what := "turn the maintenance of " + service + " on"
	if m == nil {
		what = "turn the maintenance of " + service + " off"
	}
	return explained(ctx, p.setMaintenance(ctx, service, m), what)
}

func (p *Platform) setMaintenance(ctx context.Context, service string, m *deploy.Maintenance) error {
	before, err := p.Maintenance(ctx, service)
	if err != nil || before == nil && m == nil {
		return err
	}
	svc, err := p.Get(ctx, service)
	if errors.Is(err, deploy.ErrStopped) {
		return app.Errorf(app.CodeInvalidInput, "start it first: ps start "+service, "%s is stopped: its clients get 503 already", service)
	} else if err != nil {
		return err
	}
	if deploy.WithoutWeb(&svc.Spec.Template) {
		return app.Errorf(app.CodeInvalidInput, "see its workers: gitd apps "+service, "%s has no web process: it takes no requests", service)
	}
	r, err := newRelease(svc.Name, svc.Spec.Template)
	if err != nil {
		return err
	}
	page, was := "", ""
	var to *masked
	if before != nil {
		was = (&masked{Maintenance: *before}).page(service)
	}
	if m != nil {
		to = &masked{Maintenance: *m}
		page = to.page(service)
	}
	if page != was && m != nil {
		if err := p.startPage(ctx, svc, to); err != nil {
			return err
		}
	}
	if page != was && before != nil && before.Hold > 0 {
		p.endHold(ctx, svc, was, page)
	}
	err = p.apply(context.WithValue(ctx, maskKey{}, to), svc, r, targets(svc))
	if err != nil || was == "" || page == was {
		return err
	}
	return p.removePage(ctx, svc.Namespace, service, was)
}

// startPage makes the page's revision, and waits until it is up.
func (p *Platform) startPage(ctx context.Context, svc *servingv1.Service, m *masked) error {
	image, err := p.podImage(ctx)
	if err != nil {
		return err
	}
	name := m.page(svc.Name)
	template := pageTemplate(name, image, nil)
	if m.Hold > 0 {
		if template, err = p.holdTemplate(svc, name, image, m.Hold); err != nil {
			return err
		}
	}
	page, r, err := p.pageOf(ctx, svc, template)
	if err != nil {
		return err
	}
	if err := p.apply(ctx, page, r, targets(svc)); err != nil {
		return err
	}
	if err := p.waitReady(ctx, svc.Name, name); err != nil {
		var start *deploy.StartError
		if errors.As(err, &start) {
			err = app.Wrap(err, app.CodeUnavailable, "look at the pods of "+name, "the page of maintenance does not start: %v", start)
		}
		return errors.Join(err, p.backTo(ctx, svc, name))
	}
	return nil
}

// backTo gives a Service the template again that it had, after a page did not start.
func (p *Platform) backTo(ctx context.Context, svc *servingv1.Service, page string) error {
	ctx = context.WithoutCancel(ctx)
	r, err := newRelease(svc.Name, svc.Spec.Template)
	if err != nil {
		return err
	}
	if err := p.apply(ctx, svc, r, targets(svc)); err != nil {
		return err
	}
	return p.removePage(ctx, svc.Namespace, svc.Name, page)
}

// pageTemplate is that of a page that gitd-pod answers with.
func pageTemplate(name, image string, args []string) servingv1.RevisionTemplateSpec {
	t := servingv1.RevisionTemplateSpec{}
	t.Name = name
	t.Annotations = map[string]string{autoscaling.MinScaleAnnotationKey: "1", autoscaling.MaxScaleAnnotationKey: "3"}
	t.Spec.Containers = []corev1.Container{{Image: image, Args: args, Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("16Mi")}}}}
	if args != nil { // of an app that is stopped: it costs nothing while no request comes
		t.Annotations = map[string]string{autoscaling.MinScaleAnnotationKey: "0", autoscaling.MaxScaleAnnotationKey: "1"}
	}
	return t
}

// pageOf returns a Service with the template of a page, and its release. What is left of an older one of that name is removed.
func (p *Platform) pageOf(ctx context.Context, svc *servingv1.Service, template servingv1.RevisionTemplateSpec) (*servingv1.Service, *release, error) {
	page, name := svc.DeepCopy(), template.Name
	page.Spec.Template = template
	r, err := newRelease(svc.Name, page.Spec.Template)
	if err != nil {
		return nil, nil, err
	}
	namespace := p.namespace(svc.Name)
	there, err := p.revisions(ctx, namespace, svc.Name)
	if err != nil {
		return nil, nil, err
	}
	if old := there[name]; old != nil && old.Annotations[hashNote] != r.hash {
		err = p.removePage(ctx, namespace, svc.Name, name)
	}
	return page, r, err
}

// isPage says whether a revision is one of gitd's own pages.
func isPage(service, revision string) bool {
	return revision == service+pageSuffix || revision == service+stopSuffix || strings.HasPrefix(revision, service+holdSuffix)
}

// removePage removes a page's revision, which gets no traffic any more.
func (p *Platform) removePage(ctx context.Context, namespace, service, name string) error {
	if err := p.remove(ctx, revisions, namespace, name); err != nil {
		return err
	}
	return p.removeAll(ctx, secrets, namespace, selector(managedBy, manager, appLabel, service, revLabel, name))
}

// Maintenance implements deploy.Platform.
func (p *Platform) Maintenance(ctx context.Context, service string) (*deploy.Maintenance, error) {
	ctx = p.calling(ctx)
	live, err := get[servingv1.Service](ctx, p.c, services, p.namespace(service), service)
	if apierrors.IsNotFound(err) || err == nil && (live.DeletionTimestamp != nil || !p.isOurs(live)) {
		if _, _, err := p.alone(ctx, service); err != nil {
			return nil, explained(ctx, err, "find the Service "+service)
		}
		return nil, nil
	} else if err != nil {
		return nil, explained(ctx, err, "find the Service "+service)
	}
	m, err := maintained(live)
	if m == nil || err != nil {
		return nil, err
	}
	return &m.Maintenance, nil
}

// Maintained implements deploy.Platform.
func (p *Platform) Maintained(ctx context.Context) (map[string]deploy.Maintenance, error) {
	ctx = p.calling(ctx)
	all, err := list[servingv1.Service](ctx, p.c, services, p.o.Namespace, selector(managedBy, manager))
	if err != nil {
		return nil, explained(ctx, err, "list the Services")
	}
	on := map[string]deploy.Maintenance{}
	for i := range all {
		s := &all[i]
		if p.ofAnotherGitd(s) || s.DeletionTimestamp != nil || s.Namespace != p.namespace(s.Name) {
			continue
		}
		if m, err := maintained(s); err != nil {
			return nil, err
		} else if m != nil {
			on[s.Name] = m.Maintenance
		}
	}
	return on, nil
}
