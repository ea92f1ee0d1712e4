package knative

import (
	"context"
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// settle waits until new requests follow the wanted traffic, which can take minutes. Each round reads the Service again; a change of one of
// the watched objects, or lookEvery, starts the next one:
//
//  1. A Service that is not as wanted was edited meanwhile: it is applied again, at most three times.
//  2. Knative has taken the Service, and every revision with traffic exists and is ready, or settle returns why it does not start.
//  3. The route has the wanted traffic.
//
// TestSettle lets a cluster fail at each of them.
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
				return app.Errorf(app.CodeUnavailable, kube.ConflictNote, "the Service %s is changed repeatedly by another client", want.Name)
			}
			if err := p.applyService(ctx, want, live, r); err != nil {
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
		if ready.IsFalse() && ready.Message != "" { // it could not be created
			return false, runtimeError("%s", oneLine(ready.Message))
		}
		return false, nil
	}
	waits := false
	for _, t := range w.want.Spec.Traffic {
		rev := there[t.RevisionName]
		switch {
		case rev == nil:
			return false, app.Errorf(app.CodeUnavailable, "try again", "the revision %s was deleted while it was getting traffic", t.RevisionName)
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

// routed reports whether the ingress has taken the traffic, and tells the caller what it waits for.
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

// slowRoute tells the caller that the route of a Service is slow to become ready, and fails after the time for it.
func (p *Platform) slowRoute(ctx context.Context, c *apis.Condition, service string, since time.Time, told *bool) error {
	waited := time.Since(since)
	if waited < ingressTime {
		return nil
	}
	why, next := p.routeProblem(c)
	if waited > p.o.RouteTime {
		return app.Wrap(deploy.ErrNotRouted, app.CodeUnavailable, next, "requests for %s are not routed after %s: %s", service, app.Elapsed(p.o.RouteTime), why)
	}
	if !*told {
		*told = true
		p.tell(ctx, "waiting for the route of %s (at most %s): %s", service, p.o.RouteTime, why)
	}
	return nil
}

// routeProblem says why a route is not ready, and what can be done.
func (p *Platform) routeProblem(c *apis.Condition) (why, next string) {
	class := p.ingress
	if class == "" {
		class = "that Knative is configured for"
	}
	next = "look at the Route and at the ingress controller's pods: kubectl get route,kingress -A"
	switch {
	case c == nil:
		return "Knative's controller has not processed it", "look at Knative's pods: kubectl -n knative-serving get pods"
	case c.Reason == "IngressNotConfigured":
		return "no ingress controller of the class " + class + " has processed it",
			"see that a controller for this class runs, and that ingress-class in the ConfigMap config-network of knative-serving names it"
	case c.Reason == "Uninitialized" && strings.Contains(c.Message, "load balancer"):
		return "the ingress (class " + class + ") has no load balancer that is ready", "look at the pods of the ingress gateway"
	case c.Message != "":
		return strings.TrimSuffix(c.Message, "."), next
	}
	return "Knative gives no reason", next
}
