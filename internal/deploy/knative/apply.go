package knative

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// Apply implements deploy.Platform. It overrides, and reports, changes by others to the fields that gitd sets. Another revision that has
// failed is left out, and its share goes to the template's: Knative would move no traffic at all while it is in the list.
func (p *Platform) Apply(ctx context.Context, svc *servingv1.Service) error {
	complete, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
	}
	defer p.lock(svc.Name)()
	ctx = p.calling(ctx)
	if deploy.WithoutWeb(&svc.Spec.Template) {
		return explained(ctx, p.applyAlone(ctx, svc, r, targets(complete)), "apply the Service "+svc.Name)
	}
	return explained(ctx, p.apply(ctx, svc, r, targets(complete)), "apply the Service "+svc.Name)
}

// validate checks that gitd can roll the Service out, and returns it with its defaults, and its release.
func (p *Platform) validate(ctx context.Context, svc *servingv1.Service) (*servingv1.Service, *release, error) {
	complete, err := deploy.Complete(ctx, svc, p.namespace(svc.Name))
	if err != nil {
		return nil, nil, err
	}
	if deploy.Sticky(svc) {
		return nil, nil, deploy.Invalid(svc.Name, "clients cannot stay with one side of a split: the ingress draws each request by itself")
	}
	r, err := newRelease(svc.Name, svc.Spec.Template)
	if err != nil {
		return nil, nil, deploy.Invalid(svc.Name, err.Error())
	}
	return complete, r, nil
}

// apply sends the Service and waits until the cluster has made it so. The caller holds the Service's lock.
func (p *Platform) apply(ctx context.Context, svc *servingv1.Service, r *release, traffic []servingv1.TrafficTarget) error {
	namespace := p.namespace(svc.Name)
	if p.o.Namespace == "" {
		if err := p.ensureNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	live, err := get[servingv1.Service](ctx, p.c, services, namespace, svc.Name)
	if apierrors.IsNotFound(err) {
		live = nil
	} else if err != nil {
		return err
	}
	if live != nil && !p.isOurs(live) {
		whose := "which gitd did not create"
		if p.ofAnotherGitd(live) {
			whose = "of another gitd"
		}
		return app.Errorf(app.CodeExists, "give the app another name, or remove that Service", "the Service %s exists already in the namespace %s, %s", svc.Name, namespace, whose)
	}
	there, err := p.revisions(ctx, namespace, svc.Name)
	if err != nil {
		return err
	}
	if traffic, err = p.usable(ctx, svc, r, traffic, there); err != nil {
		return err
	}
	if there[r.name] == nil {
		if err := p.waitNameFree(ctx, namespace, svc.Name, r.name); err != nil {
			return err
		}
	}
	want, err := p.wanted(ctx, svc, r, traffic, live, there[r.name])
	if err != nil {
		return err
	}
	if err := p.saveRelease(ctx, namespace, svc.Name, r); err != nil {
		return err
	}
	if err := p.applyService(ctx, want, live, r); err != nil {
		if live == nil {
			for _, name := range r.secrets() {
				_ = p.remove(context.WithoutCancel(ctx), secrets, namespace, name)
			}
		}
		return err
	}
	err = p.settle(ctx, want, r)
	if page := svc.Name + stopSuffix; err == nil && there[page] != nil && r.name != page {
		return p.removePage(ctx, namespace, svc.Name, page) // it is stopped no longer
	}
	var other *otherError
	if errors.As(err, &other) { // the other revision has failed meanwhile
		if without := p.leaveOut(ctx, traffic, other.revision, r.name, other.Error()); len(without) < len(traffic) {
			return p.apply(ctx, svc, r, without)
		}
	}
	return err
}

// otherError is why another revision with traffic than the template's is not up.
type otherError struct {
	revision string
	err      *deploy.StartError
}

func (e *otherError) Error() string { return e.err.Error() }
func (e *otherError) Unwrap() error { return e.err }

// revisions returns a Service's revisions by name.
func (p *Platform) revisions(ctx context.Context, namespace, service string) (map[string]*servingv1.Revision, error) {
	all, err := list[servingv1.Revision](ctx, p.c, revisions, namespace, selector(serviceLabel, service))
	if err != nil {
		return nil, err
	}
	out := map[string]*servingv1.Revision{}
	for i := range all {
		if all[i].DeletionTimestamp == nil {
			out[all[i].Name] = &all[i]
		}
	}
	return out, nil
}

// waitNameFree waits until nothing is left of an earlier revision of that name: Knative would not adopt its objects.
func (p *Platform) waitNameFree(ctx context.Context, namespace, service, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	if err := p.waitGone(ctx, namespace, selector(serviceLabel, service, revLabel, revision), revisions); err != nil {
		return err
	}
	return p.waitGone(ctx, namespace, selector(revisionLabel, revision), deployments, autoscalers, serverless)
}

// usable refuses traffic to revisions that do not exist, and leaves out those that failed.
func (p *Platform) usable(ctx context.Context, svc *servingv1.Service, r *release, traffic []servingv1.TrafficTarget, there map[string]*servingv1.Revision) ([]servingv1.TrafficTarget, error) {
	if rev := there[r.name]; rev != nil && rev.Annotations[hashNote] != r.hash {
		return nil, deploy.Invalid(svc.Name, fmt.Sprintf("the revision %s exists with different content; a revision cannot change", r.name))
	}
	for _, t := range slices.Clone(traffic) {
		rev := there[t.RevisionName]
		if rev == nil && t.RevisionName != r.name {
			return nil, app.Errorf(app.CodeInvalidInput, "name revisions that exist in spec.traffic",
				"the traffic of %s cannot be resolved: the revision %s does not exist", svc.Name, t.RevisionName)
		}
		if t.RevisionName != r.name && rev.IsFailed() {
			traffic = p.leaveOut(ctx, traffic, rev.Name, r.name, oneLine(rev.Status.GetCondition(servingv1.RevisionConditionReady).GetMessage()))
		}
	}
	return traffic, nil
}

// leaveOut removes a revision that does not run from the traffic. Its share goes to heir; where heir is not in the traffic, nothing
// changes.
func (p *Platform) leaveOut(ctx context.Context, traffic []servingv1.TrafficTarget, revision, heir, why string) []servingv1.TrafficTarget {
	var out []servingv1.TrafficTarget
	var tags []string
	share := int64(0)
	for _, t := range traffic {
		if t.RevisionName != revision {
			out = append(out, t)
			continue
		}
		share += ptr.Int64Value(t.Percent)
		if t.Tag != "" {
			tags = append(tags, t.Tag)
		}
	}
	if share > 0 {
		i := slices.IndexFunc(out, func(t servingv1.TrafficTarget) bool { return t.RevisionName == heir })
		if i < 0 {
			return traffic
		}
		out[i].Percent = ptr.Int64(ptr.Int64Value(out[i].Percent) + share)
		p.tell(ctx, "%s does not run (%s): its share goes to %s", revision, why, heir)
	} else if len(tags) > 0 {
		p.tell(ctx, "%s loses the tag %s: it is no longer ready (%s)", revision, strings.Join(tags, ", "), why)
	}
	return out
}

// wanted returns the Service to apply, with only the fields that gitd decides on. An existing revision keeps its exact spec, even if
// gitd's own options have changed since: Knative would see different content under the same name otherwise.
func (p *Platform) wanted(ctx context.Context, svc *servingv1.Service, r *release, traffic []servingv1.TrafficTarget, live *servingv1.Service, rev *servingv1.Revision) (*servingv1.Service, error) {
	want := &servingv1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: svc.Name, Namespace: p.namespace(svc.Name), Labels: p.labelled(map[string]string{appLabel: svc.Name})}}
	maps.Copy(want.Labels, svc.Labels)
	t, err := p.clusterTemplate(r, svc.Name)
	if err != nil {
		return nil, deploy.Invalid(svc.Name, err.Error())
	}
	switch {
	case live != nil && live.Spec.Template.Name == r.name && live.Spec.Template.Annotations[hashNote] == r.hash:
		t = live.Spec.Template
	case rev != nil:
		t.Spec = rev.Spec
	}
	want.Spec.Template = t
	want.Spec.Traffic = traffic
	if err := mask(ctx, want, live); err != nil {
		return nil, err
	}
	markStopped(ctx, want, live)
	return want, nil
}

// saveRelease creates the Secret of a release, and the one for the registry.
func (p *Platform) saveRelease(ctx context.Context, namespace, service string, r *release) error {
	if err := p.savePull(ctx, namespace, service); err != nil {
		return err
	}
	if err := p.saveValues(ctx, namespace, service, r); err != nil {
		return err
	}
	want, err := r.secret(namespace, service)
	if err != nil {
		return err
	}
	return p.saveSecret(ctx, want)
}

// saveSecret creates a Secret of gitd's, unless it is there.
func (p *Platform) saveSecret(ctx context.Context, want *corev1.Secret) error {
	have, err := get[corev1.Secret](ctx, p.c, secrets, want.Namespace, want.Name)
	switch {
	case apierrors.IsNotFound(err):
		_, _, err = p.c.Apply(ctx, secrets, want)
		return err
	case err == nil && have.Labels[managedBy] != manager:
		return app.Errorf(app.CodeExists, "rename or remove that Secret", "the Secret %s exists already in the namespace %s, and gitd did not create it", want.Name, want.Namespace)
	}
	return err
}

// applyService applies the Service, and tells the caller which changes of others it overrode.
func (p *Platform) applyService(ctx context.Context, want, live *servingv1.Service, r *release) error {
	u, conflicts, err := p.c.Apply(ctx, services, want)
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		p.tell(ctx, "the Service %s was changed by %s: gitd overrides this; %s", want.Name, c, kube.ConflictNote)
	}
	if live != nil {
		return nil
	}
	// The Service owns its Secrets: deleting it by hand deletes them.
	owner := metav1.OwnerReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: u.GetName(), UID: u.GetUID()}
	for _, name := range r.secrets() {
		if err := p.setOwner(ctx, want.Namespace, name, owner); err != nil {
			return err
		}
	}
	return nil
}
