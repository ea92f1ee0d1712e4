package knative

import (
	"context"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Where the delivery of a trigger changes, Knative deletes its subscription and makes another one (knative.dev/eventing, pkg/reconciler/broker/trigger/trigger.go:
// reconcileSubscription). What a broker takes between the two would never come to the trigger. So another trigger stands in for it meanwhile; what comes by both is delivered twice.

// bridgeSettles is how long after it is ready a trigger may take no event yet: the brokers' programs learn of it one after the other.
const bridgeSettles = 2 * time.Second

// newSubscription says whether Knative makes another subscription for a trigger that takes events, when it becomes what is wanted.
func newSubscription(there, want *unstructured.Unstructured) bool {
	if there.GetLabels()[retiredLabel] != "" || there.GetDeletionTimestamp() != nil {
		return false
	}
	was, _, _ := unstructured.NestedMap(there.Object, "spec", "delivery")
	is, _, _ := unstructured.NestedMap(want.Object, "spec", "delivery")
	return brokerOf(there) == brokerOf(want) && !reflect.DeepEqual(was, is)
}

// bridge makes what stands in for those of the wanted triggers that get another subscription, each with what that one is to be, and waits until they take events. They are not known
// as triggers of the app: they go with its next ones, if gitd ends before.
func (p *Platform) bridge(ctx context.Context, wanted []*unstructured.Unstructured, there []unstructured.Unstructured) (bridges []unstructured.Unstructured, err error) {
	var made []*unstructured.Unstructured
	for _, want := range wanted {
		if !slices.ContainsFunc(there, func(u unstructured.Unstructured) bool {
			return u.GetName() == want.GetName() && newSubscription(&u, want)
		}) {
			continue
		}
		o := want.DeepCopy()
		o.SetName(want.GetName() + ".next") // those of apps' triggers have one dot
		o.SetAnnotations(nil)
		if _, _, err := p.c.Apply(ctx, triggers, o); err != nil {
			return nil, explained(err, "apply the trigger "+o.GetName())
		}
		made = append(made, o)
	}
	if len(made) == 0 {
		return nil, nil
	}
	if err := p.waitTaken(ctx, made...); err != nil {
		return nil, explained(err, "wait for the triggers that stand in")
	}
	return values(made), settle(ctx)
}

// settle waits until the brokers' programs go by what is ready.
func settle(ctx context.Context) error {
	select {
	case <-time.After(bridgeSettles):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
