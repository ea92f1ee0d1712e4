package knative

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// Apply implements deploy.Platform. What others changed by hand in the fields that gitd sets is set back, and told. Another revision
// that failed is left out, and its share goes to the template's: Knative would move no traffic at all while it is there.
func (p *Platform) Apply(ctx context.Context, svc *servingv1.Service) error {
	complete, r, err := p.accept(ctx, svc)
	if err != nil {
		return err
	}
	defer p.lock(svc.Name)()
	ctx = p.calling(ctx)
	return explained(ctx, p.apply(ctx, svc, r, targets(complete)), "apply the Service "+svc.Name)
}

// accept looks whether a Service is one that gitd can roll out, and returns it with its defaults, and the release that it makes.
func (p *Platform) accept(ctx context.Context, svc *servingv1.Service) (*servingv1.Service, *release, error) {
	complete, err := deploy.Complete(ctx, svc, p.namespace(svc.Name))
	if err != nil {
		return nil, nil, err
	}
	r, err := newRelease(svc.Spec.Template)
	if err != nil {
		return nil, nil, deploy.Invalid(svc.Name, err.Error())
	}
	return complete, r, nil
}

// apply makes it so. The caller holds the Service's lock.
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
		whose := "that gitd did not make"
		if p.others(live) {
			whose = "of another gitd"
		}
		return app.Errorf(app.CodeExists, "give the app another name, or remove that Service", "there is a Service %s in the namespace %s %s", svc.Name, namespace, whose)
	}
	there, err := p.revisions(ctx, namespace, svc.Name)
	if err != nil {
		return err
	}
	if traffic, err = p.usable(ctx, svc, r, traffic, there); err != nil {
		return err
	}
	if there[r.name] == nil {
		if err := p.free(ctx, namespace, svc.Name, r.name); err != nil {
			return err
		}
	}
	want, err := p.wanted(svc, r, traffic, live, there[r.name])
	if err != nil {
		return err
	}
	if err := p.keep(ctx, namespace, svc.Name, r); err != nil {
		return err
	}
	if err := p.send(ctx, want, live, r); err != nil {
		if live == nil {
			_ = p.remove(context.WithoutCancel(ctx), secrets, namespace, r.config())
		}
		return err
	}
	err = p.settle(ctx, want, r)
	var other *otherError
	if errors.As(err, &other) { // it has failed meanwhile
		if without := p.leaveOut(ctx, traffic, other.revision, r.name, other.Error()); len(without) < len(traffic) {
			return p.apply(ctx, svc, r, without)
		}
	}
	return err
}

// otherError is why a revision with traffic is not up that is not the template's.
type otherError struct {
	revision string
	err      *deploy.StartError
}

func (e *otherError) Error() string { return e.err.Error() }
func (e *otherError) Unwrap() error { return e.err }

// isOurs tells whether this gitd made a Service, even if somebody took its labels away.
func (p *Platform) isOurs(s *servingv1.Service) bool {
	made := s.Labels[managedBy] == manager ||
		slices.ContainsFunc(s.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager == kube.FieldManager && f.Operation == metav1.ManagedFieldsOperationApply
		})
	return made && !p.others(s)
}

// others tells whether another gitd made an object.
func (p *Platform) others(o metav1.Object) bool {
	instance := o.GetLabels()[instLabel]
	return p.o.Instance != "" && instance != "" && instance != p.o.Instance
}

// labelled adds the labels by which what this gitd made is found.
func (p *Platform) labelled(labels map[string]string) map[string]string {
	labels[managedBy] = manager
	if p.o.Instance != "" {
		labels[instLabel] = p.o.Instance
	}
	return labels
}

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

// free waits until nothing is left of an earlier revision of that name: Knative would not take over what belongs to it.
func (p *Platform) free(ctx context.Context, namespace, service, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	if err := p.none(ctx, namespace, selector(serviceLabel, service, revLabel, revision), revisions); err != nil {
		return err
	}
	return p.none(ctx, namespace, selector(revisionLabel, revision), deployments, autoscalers, serverless)
}

// usable refuses traffic to revisions that are not there, and leaves out those that failed.
func (p *Platform) usable(ctx context.Context, svc *servingv1.Service, r *release, traffic []servingv1.TrafficTarget, there map[string]*servingv1.Revision) ([]servingv1.TrafficTarget, error) {
	if rev := there[r.name]; rev != nil && rev.Annotations[hashNote] != r.hash {
		return nil, deploy.Invalid(svc.Name, fmt.Sprintf("the revision %s exists with another content; a revision does not change", r.name))
	}
	for _, t := range slices.Clone(traffic) {
		rev := there[t.RevisionName]
		if rev == nil && t.RevisionName != r.name {
			return nil, app.Errorf(app.CodeInvalidInput, "name revisions that exist in spec.traffic",
				"the traffic of %s cannot be resolved: there is no revision %s", svc.Name, t.RevisionName)
		}
		if t.RevisionName != r.name && rev.IsFailed() {
			traffic = p.leaveOut(ctx, traffic, rev.Name, r.name, oneLine(rev.Status.GetCondition(servingv1.RevisionConditionReady).GetMessage()))
		}
	}
	return traffic, nil
}

// leaveOut takes a revision that does not run out of the traffic. Its share goes to heir; where that is not in the traffic, all stays as
// it is.
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
		p.tell(ctx, "%s loses the tag %s: it is not ready any more (%s)", revision, strings.Join(tags, ", "), why)
	}
	return out
}

// wanted is the Service as gitd wants it: only the fields that it decides on. A revision that exists keeps its spec to the letter, whatever
// gitd's own options became since then: Knative takes its name for another content otherwise.
func (p *Platform) wanted(svc *servingv1.Service, r *release, traffic []servingv1.TrafficTarget, live *servingv1.Service, rev *servingv1.Revision) (*servingv1.Service, error) {
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
	return want, nil
}

// keep makes the Secret of a release, and that for the registry.
func (p *Platform) keep(ctx context.Context, namespace, service string, r *release) error {
	if err := p.keepPull(ctx, namespace, service); err != nil {
		return err
	}
	want, err := r.secret(namespace, service)
	if err != nil {
		return err
	}
	have, err := get[corev1.Secret](ctx, p.c, secrets, namespace, want.Name)
	switch {
	case apierrors.IsNotFound(err):
		_, _, err = p.c.Apply(ctx, secrets, want)
		return err
	case err == nil && have.Labels[managedBy] != manager:
		return app.Errorf(app.CodeExists, "rename or remove that Secret", "there is a Secret %s in the namespace %s that gitd did not make", want.Name, namespace)
	}
	return err
}

// send applies the Service, and tells what it set back.
func (p *Platform) send(ctx context.Context, want, live *servingv1.Service, r *release) error {
	u, conflicts, err := p.c.Apply(ctx, services, want)
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		p.tell(ctx, "the Service %s was changed by %s: gitd sets it back; %s", want.Name, c, kube.ConflictNote)
	}
	if live != nil {
		return nil
	}
	// The Service owns what belongs to it: who deletes it by hand deletes all.
	owner := metav1.OwnerReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: u.GetName(), UID: u.GetUID()}
	return p.own(ctx, want.Namespace, r.config(), owner)
}

// settle waits until new requests follow the wanted traffic.
func (p *Platform) settle(ctx context.Context, want *servingv1.Service, r *release) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := p.c.Watch(ctx, kube.Interest{Resource: services, Namespace: want.Namespace, Name: want.Name},
		kube.Interest{Resource: revisions, Namespace: want.Namespace, Selector: selector(serviceLabel, want.Name)},
		kube.Interest{Resource: pods, Namespace: want.Namespace, Selector: selector(serviceLabel, want.Name)})
	w := &settling{p: p, want: want, starts: map[string]*start{}}
	again := 0
	for {
		live, err := get[servingv1.Service](ctx, p.c, services, want.Namespace, want.Name)
		if apierrors.IsNotFound(err) {
			return notFound("service", want.Name)
		} else if err != nil {
			return err
		}
		if live.Spec.Template.Name != want.Spec.Template.Name || !sameTraffic(live.Spec.Traffic, want.Spec.Traffic) {
			if again++; again > 3 {
				return app.Errorf(app.CodeUnavailable, kube.ConflictNote, "the Service %s is changed by somebody else again and again", want.Name)
			}
			if err := p.send(ctx, want, live, r); err != nil {
				return err
			}
			continue
		}
		if done, err := w.look(ctx, live); done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// settling is the wait for a Service to be as wanted.
type settling struct {
	p      *Platform
	want   *servingv1.Service
	starts map[string]*start // revisions with traffic that are not ready yet
	since  time.Time         // when only the route was left to wait for
	told   bool
}

func (w *settling) look(ctx context.Context, live *servingv1.Service) (done bool, err error) {
	ready := live.Status.GetCondition(servingv1.ServiceConditionConfigurationsReady)
	name := w.want.Spec.Template.Name
	if live.Status.ObservedGeneration != live.Generation || ready == nil || ready.Reason == "OutOfDate" {
		if w.since.IsZero() {
			w.since = time.Now()
		}
		return false, w.p.slowRoute(ctx, nil, w.want.Name, w.since, &w.told)
	}
	there, err := w.p.revisions(ctx, w.want.Namespace, w.want.Name)
	if err != nil {
		return false, err
	}
	if there[name] == nil {
		if ready.IsFalse() && ready.Message != "" { // it could not even be made
			return false, runtimeError("%s", oneLine(ready.Message))
		}
		return false, nil
	}
	waits := false
	for _, t := range w.want.Spec.Traffic {
		rev := there[t.RevisionName]
		switch {
		case rev == nil:
			return false, app.Errorf(app.CodeUnavailable, "try again", "the revision %s was deleted while traffic was to go to it", t.RevisionName)
		case rev.IsReady():
			continue
		}
		waits = true
		if ptr.Int64Value(t.Percent) == 0 {
			continue
		}
		s := w.starts[rev.Name]
		if s == nil {
			s = w.p.newStart(w.want.Namespace, w.want.Name, rev.Name)
			w.starts[rev.Name] = s
		}
		_, err := s.look(ctx)
		var start *deploy.StartError
		switch {
		case errors.As(err, &start) && rev.Name != name:
			return false, &otherError{rev.Name, start}
		case err != nil:
			return false, err
		}
	}
	if waits {
		w.since = time.Time{}
		return len(pending(w.want.Spec.Traffic, there)) == 0, nil
	}
	return w.routed(ctx, live)
}

// pending are the revisions with traffic that are not ready.
func pending(traffic []servingv1.TrafficTarget, there map[string]*servingv1.Revision) []string {
	var out []string
	for _, t := range traffic {
		if rev := there[t.RevisionName]; ptr.Int64Value(t.Percent) > 0 && (rev == nil || !rev.IsReady()) {
			out = append(out, t.RevisionName)
		}
	}
	return out
}

// routed tells whether the ingress has taken the traffic, and says what it waits for.
func (w *settling) routed(ctx context.Context, live *servingv1.Service) (bool, error) {
	c := live.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
	if c.IsTrue() && sameTraffic(live.Status.Traffic, w.want.Spec.Traffic) {
		return true, nil
	}
	if w.since.IsZero() {
		w.since = time.Now()
	}
	return false, w.p.slowRoute(ctx, c, w.want.Name, w.since, &w.told)
}

// slowRoute tells, and in the end fails, where the route of a Service does not become ready.
func (p *Platform) slowRoute(ctx context.Context, c *apis.Condition, service string, since time.Time, told *bool) error {
	waited := time.Since(since)
	if waited < ingressTime {
		return nil
	}
	why, next := p.routeProblem(c)
	if waited > routeTime {
		return app.Wrap(deploy.ErrNotRouted, app.CodeUnavailable, next, "requests for %s are not routed after %s: %s", service, app.Elapsed(routeTime), why)
	}
	if !*told {
		*told = true
		p.tell(ctx, "waiting for the route of %s (at most %s): %s", service, routeTime, why)
	}
	return nil
}

// routeProblem says why a route is not ready, and what can be done.
func (p *Platform) routeProblem(c *apis.Condition) (why, next string) {
	class := p.ingress
	if class == "" {
		class = "that Knative is set to"
	}
	next = "look at the Route and at the ingress controller's pods: kubectl get route,kingress -A"
	switch {
	case c == nil:
		return "Knative's controller has not looked at it", "look at Knative's pods: kubectl -n knative-serving get pods"
	case c.Reason == "IngressNotConfigured":
		return "no ingress controller of the class " + class + " has reacted",
			"see that a controller for this class runs, and that ingress-class in the ConfigMap config-network of knative-serving names it"
	case c.Reason == "Uninitialized" && strings.Contains(c.Message, "load balancer"):
		return "the ingress (class " + class + ") has no load balancer that is ready", "look at the pods of the ingress gateway"
	case c.Message != "":
		return strings.TrimSuffix(c.Message, "."), next
	}
	return "Knative gives no reason", next
}
