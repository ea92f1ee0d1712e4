package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Get implements deploy.Platform. The template is the one that Apply got, with its configuration.
func (p *Platform) Get(ctx context.Context, service string) (*servingv1.Service, error) {
	ctx = p.calling(ctx)
	live, err := p.find(ctx, service)
	if err == nil && deploy.WithoutWeb(&live.Spec.Template) {
		return live, nil
	}
	if err == nil && !sameTraffic(live.Status.Traffic, live.Spec.Traffic) {
		var there map[string]*servingv1.Revision
		there, err = p.revisions(ctx, live.Namespace, service)
		live.Status.Traffic = trafficNow(live, there)
	}
	if err != nil {
		return nil, explained(ctx, err, "read the Service "+service)
	}
	return live, explained(ctx, p.restore(ctx, live), "read the configuration of "+service)
}

// trafficNow is the actual traffic of a Service. While a revision of the wanted traffic does not run, Knative leaves the previous traffic in
// the status: once a revision named there is gone, the wanted traffic is what counts.
func trafficNow(live *servingv1.Service, there map[string]*servingv1.Revision) []servingv1.TrafficTarget {
	for _, t := range live.Status.Traffic {
		if there[t.RevisionName] == nil {
			return targets(live)
		}
	}
	return live.Status.Traffic
}

// stuck reports whether Knative cannot follow the wanted traffic, because a revision in it does not run.
func stuck(live *servingv1.Service, there map[string]*servingv1.Revision) bool {
	return slices.ContainsFunc(live.Spec.Traffic, func(t servingv1.TrafficTarget) bool {
		rev := there[t.RevisionName]
		return rev == nil || rev.IsFailed()
	})
}

// find reads one of gitd's Services as the cluster has it; one without web as it was given.
func (p *Platform) find(ctx context.Context, service string) (*servingv1.Service, error) {
	live, err := get[servingv1.Service](ctx, p.c, services, p.namespace(service), service)
	if apierrors.IsNotFound(err) || err == nil && (live.DeletionTimestamp != nil || !p.isOurs(live)) {
		live, _, err = p.alone(ctx, service)
	}
	if err == nil && isStopped(live) {
		return nil, fmt.Errorf("service %s: %w", service, deploy.ErrStopped)
	}
	if err == nil {
		err = unmask(live)
	}
	return live, err
}

// restore replaces the cluster's template by the one that Apply got. Where the template was edited by hand, it is that of the revision with
// the most traffic.
func (p *Platform) restore(ctx context.Context, live *servingv1.Service) error {
	kept, err := p.releases(ctx, live.Namespace, live.Name)
	if err != nil {
		return err
	}
	if r := kept[live.Spec.Template.Annotations[hashNote]]; r != nil && r.name == live.Spec.Template.Name {
		live.Spec.Template = r.original()
		return nil
	}
	there, err := p.revisions(ctx, live.Namespace, live.Name)
	if err != nil {
		return err
	}
	for _, t := range slices.SortedStableFunc(slices.Values(live.Status.Traffic), func(a, b servingv1.TrafficTarget) int {
		return int(ptr.Int64Value(b.Percent) - ptr.Int64Value(a.Percent))
	}) {
		rev := there[t.RevisionName]
		if rev == nil {
			continue
		}
		if r := kept[rev.Annotations[hashNote]]; r != nil {
			live.Spec.Template = r.original()
			return nil
		}
	}
	return nil
}

// releases reads the stored releases of a Service, by their hash.
func (p *Platform) releases(ctx context.Context, namespace, service string) (map[string]*release, error) {
	all, err := list[corev1.Secret](ctx, p.c, secrets, namespace, ours(service)+","+revLabel+",!"+procLabel+",!"+valuesLabel)
	if err != nil {
		return nil, err
	}
	out := map[string]*release{}
	for i := range all {
		r, err := readRelease(&all[i])
		if err != nil {
			return nil, err
		}
		out[r.hash] = r
	}
	return out, nil
}

// List implements deploy.Platform.
func (p *Platform) List(ctx context.Context) ([]*servingv1.Service, error) {
	ctx = p.calling(ctx)
	all, err := list[servingv1.Service](ctx, p.c, services, p.o.Namespace, selector(managedBy, manager))
	if err != nil {
		return nil, explained(ctx, err, "list the Services")
	}
	var out []*servingv1.Service
	for i := range all {
		s := &all[i]
		if p.ofAnotherGitd(s) || s.DeletionTimestamp != nil || s.Namespace != p.namespace(s.Name) || isStopped(s) {
			continue
		}
		if err := unmask(s); err != nil {
			return nil, err
		}
		if err := p.restore(ctx, s); err != nil {
			return nil, explained(ctx, err, "read the configuration of "+s.Name)
		}
		out = append(out, s)
	}
	if out, err = p.listAlone(ctx, out); err != nil {
		return nil, explained(ctx, err, "list the Services")
	}
	slices.SortFunc(out, func(a, b *servingv1.Service) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Describe implements deploy.Platform. The oldest revision comes first. Knative does not report requests in flight.
func (p *Platform) Describe(ctx context.Context, service string) ([]deploy.RevisionStatus, error) {
	ctx = p.calling(ctx)
	out, err := p.describe(ctx, service)
	return out, explained(ctx, err, "describe "+service)
}

func (p *Platform) describe(ctx context.Context, service string) ([]deploy.RevisionStatus, error) {
	live, err := p.find(ctx, service)
	if err != nil {
		return nil, err
	}
	if deploy.WithoutWeb(&live.Spec.Template) {
		return describeAlone(live), nil
	}
	there, err := p.revisions(ctx, live.Namespace, service)
	if err != nil {
		return nil, err
	}
	running, err := list[corev1.Pod](ctx, p.c, pods, live.Namespace, selector(serviceLabel, service))
	if err != nil {
		return nil, err
	}
	ready := map[string]int{}
	for i := range running {
		if running[i].DeletionTimestamp == nil && podReady(&running[i]) {
			ready[running[i].Labels[revisionLabel]]++
		}
	}
	var all []*servingv1.Revision
	for name, r := range there {
		if !isPage(service, name) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *servingv1.Revision) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(len(a.Name), len(b.Name)), strings.Compare(a.Name, b.Name))
	})
	out := make([]deploy.RevisionStatus, len(all))
	traffic := trafficNow(live, there)
	for i, r := range all {
		out[i] = deploy.RevisionStatus{Name: r.Name, Instances: ready[r.Name]}
		for _, t := range traffic {
			if t.RevisionName != r.Name {
				continue
			}
			out[i].Percent += ptr.Int64Value(t.Percent)
			if t.Tag != "" {
				out[i].Tags = append(out[i].Tags, t.Tag)
			}
		}
	}
	return out, nil
}

// Delete implements deploy.Platform. It can be repeated: it also removes what is left of a deleted Service, and touches nothing of one that
// gitd did not make. It returns when the route and everything that holds the names is gone; the pods then end by themselves, with their
// last requests.
func (p *Platform) Delete(ctx context.Context, service string) error {
	defer p.lock(service)()
	p.finished.drop(service)
	ctx = p.calling(ctx)
	return explained(ctx, p.delete(ctx, service), "delete the Service "+service)
}

func (p *Platform) delete(ctx context.Context, service string) error {
	namespace := p.namespace(service)
	live, err := get[servingv1.Service](ctx, p.c, services, namespace, service)
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone {
		return err
	}
	if !gone && p.ofAnotherGitd(live) {
		return notFound("service", service)
	}
	foreign := !gone && !p.isOurs(live)
	_, _, err = p.alone(ctx, service)
	alone := err == nil
	if err != nil && !isNotFound(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	if !gone && !foreign {
		if err := p.remove(ctx, services, namespace, service); err != nil {
			return err
		}
	}
	for _, gvr := range []schema.GroupVersionResource{deployments, jobs} {
		if err := p.removeAll(ctx, gvr, namespace, ours(service)); err != nil {
			return err
		}
	}
	if !foreign {
		if err := p.waitGone(ctx, namespace, selector(serviceLabel, service), routes, revisions, deployments, autoscalers, serverless); err != nil {
			return err
		}
		if err := p.waitGone(ctx, namespace, selector("serving.knative.dev/route", service), ingresses); err != nil {
			return err
		}
	}
	if err := p.removeAll(ctx, secrets, namespace, ours(service)); err != nil {
		return err
	}
	if p.o.Namespace == "" {
		if err := p.leaveNamespace(ctx, namespace, foreign); err != nil {
			return err
		}
	}
	if gone && !alone || foreign {
		return notFound("service", service)
	}
	return nil
}

// leaveNamespace removes an app's own namespace. One that gitd did not make, or that is still used, stays, without the Secret for the
// registry.
func (p *Platform) leaveNamespace(ctx context.Context, namespace string, used bool) error {
	ns, err := get[corev1.Namespace](ctx, p.c, namespaces, "", namespace)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case p.ofAnotherGitd(ns):
		return nil
	case ns.Labels[managedBy] == manager && !used:
		return p.remove(ctx, namespaces, "", namespace)
	}
	pull, err := get[corev1.Secret](ctx, p.c, secrets, namespace, p.pullName())
	if apierrors.IsNotFound(err) || err == nil && pull.Labels[managedBy] != manager {
		return nil
	} else if err != nil {
		return err
	}
	return p.remove(ctx, secrets, namespace, p.pullName())
}

// DeleteRevision implements deploy.Platform. It also deletes the revision's Secret, even if Knative has removed the revision already.
func (p *Platform) DeleteRevision(ctx context.Context, service, revision string) error {
	defer p.lock(service)()
	ctx = p.calling(ctx)
	return explained(ctx, p.deleteRevision(ctx, service, revision), "delete the revision "+revision)
}

func (p *Platform) deleteRevision(ctx context.Context, service, revision string) error {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	there, err := p.revisions(ctx, live.Namespace, service)
	if err != nil {
		return err
	}
	var inUse []servingv1.TrafficTarget
	if !deploy.WithoutWeb(&live.Spec.Template) {
		inUse = slices.Clone(live.Spec.Traffic)
	}
	if !stuck(live, there) { // else the status is outdated
		inUse = append(inUse, live.Status.Traffic...)
	}
	for _, t := range inUse {
		if t.RevisionName != revision {
			continue
		}
		what := "gets traffic"
		if t.Tag != "" {
			what = "has the tag " + t.Tag
		}
		return app.Errorf(app.CodeInvalidInput, "take its traffic and its tags away first", "the revision %s cannot be deleted: it %s", revision, what)
	}
	alone := deploy.WithoutWeb(&live.Spec.Template)
	if alone && live.Spec.Template.Name == revision {
		return app.Errorf(app.CodeInvalidInput, "let another release take its place first", "the revision %s cannot be deleted: it is what runs", revision)
	}
	if err := p.forgetAlone(ctx, service, revision); err != nil {
		return err
	}
	if !alone && live.Spec.Template.Name == revision { // Knative would create it again
		var start *deploy.StartError // then the step back is done, and the revision that serves does not run
		if err := p.stepBack(ctx, live); err != nil && !errors.As(err, &start) {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	if err := p.remove(ctx, revisions, live.Namespace, revision); err != nil {
		return err
	}
	if err := p.removeAll(ctx, deployments, live.Namespace, selector(managedBy, manager, appLabel, service, revLabel, revision)); err != nil {
		return err
	}
	if err := p.waitNameFree(ctx, live.Namespace, service, revision); err != nil {
		return err
	}
	if err := p.removeAll(ctx, secrets, live.Namespace, selector(managedBy, manager, appLabel, service, revLabel, revision)); err != nil {
		return err
	}
	if there[revision] == nil {
		return notFound("revision", revision)
	}
	return nil
}

// stepBack gives the Service the template of the revision that serves, so that the newest one can be deleted.
func (p *Platform) stepBack(ctx context.Context, live *servingv1.Service) error {
	name := live.Spec.Template.Name
	back := live.DeepCopy()
	back.Spec.Template.Name = ""
	if err := p.restore(ctx, back); err != nil {
		return err
	}
	if back.Spec.Template.Name == "" {
		return app.Errorf(app.CodeInvalidInput, "roll another revision out first", "the revision %s cannot be deleted: no other revision serves", name)
	}
	r, err := newRelease(live.Name, back.Spec.Template)
	if err != nil {
		return err
	}
	return p.apply(ctx, back, r, targets(back))
}

// WaitDrained implements deploy.Platform. Knative does not report requests in flight, and an instance that it stops finishes its requests
// first. So this only checks that the revision exists.
func (p *Platform) WaitDrained(ctx context.Context, service, revision string) error {
	ctx = p.calling(ctx)
	rev, err := get[servingv1.Revision](ctx, p.c, revisions, p.namespace(service), revision)
	if apierrors.IsNotFound(err) || err == nil && rev.Labels[serviceLabel] != service {
		return notFound("revision", revision)
	}
	return explained(ctx, err, "look at "+revision)
}

// setOwner sets the owner of a Secret, with which it is deleted.
func (p *Platform) setOwner(ctx context.Context, namespace, secret string, owner metav1.OwnerReference) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": []metav1.OwnerReference{owner}}})
	if err != nil {
		return err
	}
	_, err = p.c.Resource(secrets, namespace).Patch(ctx, secret, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return err
}
