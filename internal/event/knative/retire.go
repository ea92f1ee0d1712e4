package knative

import (
	"cmp"
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitd-io/gitd/internal/app"
)

// A trigger of Knative cannot simply be deleted. Its channel goes on to take every event of the broker to it until the subscription is gone, and the broker's filter answers for a
// trigger that is not there with 404: each of those events, of any sender, would be tried as often as the trigger said, and be a dead letter of its app then
// (knative.dev/eventing, pkg/broker/filter/filter_handler.go: ServeHTTP, getTrigger). So it takes no event first, and what of the broker's events fails for it is taken by the keeper, which forgets
// it. It is deleted when its channel knows that: Knative makes another subscription for a new delivery, and the trigger is ready when the channel has that one
// (pkg/reconciler/broker/trigger/trigger.go: reconcileSubscription). What is being tried for the trigger then goes where it went before.

// retiredLabel marks a trigger that goes.
const retiredLabel = "gitd.io/retired"

// retire has triggers go. They take no event any more when it returns; the objects are deleted later.
func (p *Platform) retire(ctx context.Context, all []unstructured.Unstructured) error {
	for i := range all {
		if err := p.endTrigger(ctx, &all[i]); err != nil {
			return err
		}
		go p.removeRetired(context.WithoutCancel(ctx), &all[i])
	}
	return nil
}

// endTrigger has a trigger take no event.
func (p *Platform) endTrigger(ctx context.Context, u *unstructured.Unstructured) error {
	if u.GetLabels()[retiredLabel] != "" || u.GetDeletionTimestamp() != nil {
		return nil
	}
	token, err := p.ensureKeeper(ctx)
	if err != nil {
		return err
	}
	broker := brokerOf(u)
	domain := host(address(&unstructured.Unstructured{})) // of a broker that is gone
	if there, err := p.broker(ctx, broker); err == nil && there != nil {
		domain = host(address(there))
	}
	labels := map[string]any{retiredLabel: "true"}
	for _, name := range []string{appLabel, idLabel} {
		labels[name] = u.GetLabels()[name]
	}
	forgets := p.keeperURL(token, domain) + "/gone"
	o := p.object("eventing.knative.dev/v1", "Trigger", u.GetName(), labels, nil, map[string]any{"spec": map[string]any{
		"broker": broker, "filters": []any{map[string]any{"exact": map[string]any{"type": "gitd.retired"}}}, "subscriber": map[string]any{"uri": forgets},
		"delivery": map[string]any{"retry": int64(0), "deadLetterSink": map[string]any{"uri": forgets}},
	}})
	_, _, err = p.c.Apply(ctx, triggers, o)
	return err
}

// removeRetired deletes a trigger that takes no event any more, when its channel knows so. One that takes events again meanwhile stays.
func (p *Platform) removeRetired(ctx context.Context, u *unstructured.Unstructured) {
	name := u.GetName()
	err := p.waitTaken(ctx, u)
	if err == nil || app.CodeOf(err) == app.CodeUnavailable { // its broker may be gone, or not ready: nothing comes by it then
		err = p.deleteRetired(ctx, name)
	}
	if err != nil {
		p.o.Log("events: the trigger %s, which takes no event any more, is removed when gitd starts again: %v", name, err)
	}
}

func (p *Platform) deleteRetired(ctx context.Context, name string) error {
	u, err := p.get(ctx, triggers, name)
	if err != nil || u == nil || u.GetLabels()[retiredLabel] == "" || u.GetDeletionTimestamp() != nil {
		return err
	}
	foreground, uid, version := metav1.DeletePropagationForeground, u.GetUID(), u.GetResourceVersion()
	err = p.c.Resource(triggers, p.o.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err): // its status has changed, or it takes events again
		return p.deleteRetired(ctx, name)
	}
	return err
}

// removeAllRetired deletes what an earlier process has left.
func (p *Platform) removeAllRetired(ctx context.Context) {
	if p.installed(ctx) != nil {
		return
	}
	all, err := p.list(ctx, triggers, retiredLabel, "true")
	if err != nil {
		p.o.Log("events: triggers that take no event any more are left: %v", err)
		return
	}
	for i := range all {
		p.removeRetired(ctx, &all[i])
	}
}

// replace removes a trigger, and waits until its name is free.
func (p *Platform) replace(ctx context.Context, u *unstructured.Unstructured) error {
	if err := p.endTrigger(ctx, u); err != nil {
		return err
	}
	p.removeRetired(ctx, u)
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		there, err := p.get(ctx, triggers, u.GetName())
		if there == nil && err == nil {
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return cmp.Or(err, ctx.Err())
		}
	}
}
