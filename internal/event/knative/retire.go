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
// (knative.dev/eventing, pkg/broker/filter/filter_handler.go: ServeHTTP, getTrigger). So it takes no event first, which its channel need not know. Then what of the broker's events fails
// for it is taken by the keeper, which forgets it: Knative makes another subscription for a new delivery (pkg/reconciler/broker/trigger/trigger.go: reconcileSubscription). It is
// deleted when the channel has that one. What is being tried for the trigger goes where it went before.

// retiredLabel marks a trigger that goes.
const retiredLabel = "gitd.io/retired"

// retire has triggers go. They take no event any more when it returns; the objects are deleted later, and then is called.
func (p *Platform) retire(ctx context.Context, all []unstructured.Unstructured, then func()) error {
	for i := range all {
		if err := p.endTrigger(ctx, &all[i]); err != nil {
			then()
			return err
		}
	}
	go func() {
		defer then()
		p.removeRetired(context.WithoutCancel(ctx), all...)
	}()
	return nil
}

// endTrigger has a trigger take no event.
func (p *Platform) endTrigger(ctx context.Context, u *unstructured.Unstructured) error {
	if u.GetLabels()[retiredLabel] != "" || u.GetDeletionTimestamp() != nil {
		return nil
	}
	delivery, _, _ := unstructured.NestedMap(u.Object, "spec", "delivery")
	return p.applyRetired(ctx, u, delivery)
}

// forget has the keeper take what fails for a trigger that goes.
func (p *Platform) forget(ctx context.Context, u *unstructured.Unstructured) error {
	to, err := p.forgets(ctx, u)
	if err != nil {
		return err
	}
	return p.applyRetired(ctx, u, map[string]any{"retry": int64(0), "deadLetterSink": map[string]any{"uri": to}})
}

// applyRetired makes a trigger one that takes no event.
func (p *Platform) applyRetired(ctx context.Context, u *unstructured.Unstructured, delivery map[string]any) error {
	to, err := p.forgets(ctx, u)
	if err != nil {
		return err
	}
	labels := map[string]any{retiredLabel: "true"}
	for _, name := range []string{appLabel, idLabel} {
		labels[name] = u.GetLabels()[name]
	}
	spec := map[string]any{"broker": brokerOf(u), "filters": []any{map[string]any{"exact": map[string]any{"type": "gitd.retired"}}}, "subscriber": map[string]any{"uri": to}}
	if len(delivery) > 0 {
		spec["delivery"] = delivery
	}
	_, _, err = p.c.Apply(ctx, triggers, p.object("eventing.knative.dev/v1", "Trigger", u.GetName(), labels, nil, map[string]any{"spec": spec}))
	return err
}

// forgets is the URL at which the keeper takes what it forgets.
func (p *Platform) forgets(ctx context.Context, u *unstructured.Unstructured) (string, error) {
	token, err := p.ensureKeeper(ctx)
	if err != nil {
		return "", err
	}
	domain := host(address(&unstructured.Unstructured{})) // of a broker that is gone
	if there, err := p.broker(ctx, brokerOf(u)); err == nil && there != nil {
		domain = host(address(there))
	}
	return p.keeperURL(token, domain) + "/gone", nil
}

// removeRetired deletes triggers that take no event any more, one after the other (channel.go says why). The caller has the locks of their channels.
func (p *Platform) removeRetired(ctx context.Context, all ...unstructured.Unstructured) {
	brokers := map[string]bool{}
	for i := range all {
		u := &all[i]
		brokers[brokerOf(u)] = true
		err := p.removeOne(ctx, u)
		if err != nil {
			p.o.Log("events: the trigger %s, which takes no event any more, is removed when gitd starts again: %v", u.GetName(), err)
		}
	}
	for broker := range brokers {
		p.tidied(ctx, broker)
	}
}

// tidied tidies the channel of a broker as far as that can be done now.
func (p *Platform) tidied(ctx context.Context, broker string) {
	if err := p.tidy(ctx, broker); err != nil {
		p.o.Log("events: what triggers have left in the channel of the broker %s is not known: %v", broker, err)
	}
}

// removeOne deletes a trigger that takes no event any more, and waits until its name is free.
func (p *Platform) removeOne(ctx context.Context, u *unstructured.Unstructured) error {
	there, err := p.broker(ctx, brokerOf(u))
	if there != nil && err == nil {
		if err = p.forget(ctx, u); err == nil {
			err = p.waitTaken(ctx, u)
		}
	}
	if err == nil || app.CodeOf(err) == app.CodeUnavailable { // nothing comes by a broker that is gone, or not ready
		err = p.deleteRetired(ctx, u.GetName())
	}
	if err == nil {
		err = p.waitGone(ctx, u.GetName())
	}
	return err
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
	defer p.lockChannels(all...)()
	p.removeRetired(ctx, all...)
}

// replace removes a trigger, and waits until its name is free.
func (p *Platform) replace(ctx context.Context, u *unstructured.Unstructured) error {
	if err := p.endTrigger(ctx, u); err != nil {
		return err
	}
	if err := p.removeOne(ctx, u); err != nil {
		return err
	}
	p.tidied(ctx, brokerOf(u))
	return nil
}

// waitGone waits until a trigger is not there.
func (p *Platform) waitGone(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		there, err := p.get(ctx, triggers, name)
		if there == nil && err == nil {
			return nil
		}
		if there != nil && there.GetLabels()[retiredLabel] == "" { // it takes events again
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return cmp.Or(err, ctx.Err())
		}
	}
}
