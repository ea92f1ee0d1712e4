package knative

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube"
)

// That a trigger is ready is not enough for it to get events. The dispatcher of Knative's in-memory channel leaves a channel as it was while the channel's controller has not seen the
// newest subscribers, and marks them as ready nevertheless (knative.dev/eventing, pkg/reconciler/inmemorychannel/dispatcher/inmemorychannel.go: reconcile skips a channel that is not
// ready, and ReconcileKind goes on to patchSubscriberStatus). Where the triggers of several apps change at a time that takes seconds. So gitd waits until the channel has the
// subscription, and its controller has seen that: the dispatcher goes by it then.

var (
	subscriptions = schema.GroupVersionResource{Group: "messaging.knative.dev", Version: "v1", Resource: "subscriptions"}
	channels      = schema.GroupVersionResource{Group: "messaging.knative.dev", Version: "v1", Resource: "inmemorychannels"}
)

// What the Broker's status and the Subscription of a trigger are marked with (pkg/apis/eventing/register.go, pkg/reconciler/broker/resources/subscription.go).
const (
	channelKindNote   = "knative.dev/channelKind"
	channelNameNote   = "knative.dev/channelName"
	triggerLabel      = "eventing.knative.dev/trigger"
	inMemoryChannel   = "InMemoryChannel"
	dispatcherSettles = 200 * time.Millisecond // it watches the channel
)

// waitTaken waits until triggers are ready, and the channels of their brokers have them. Where gitd may not look at channels, or a broker is of another kind, ready is all that it knows.
func (p *Platform) waitTaken(ctx context.Context, all ...*unstructured.Unstructured) error {
	names := map[string][]string{} // by broker
	for _, u := range all {
		if err := p.waitReadyUnless(ctx, triggers, "trigger", u.GetName(), func(ctx context.Context) error { return p.brokerGoes(ctx, u) }); err != nil {
			return err
		}
		names[brokerOf(u)] = append(names[brokerOf(u)], u.GetName())
	}
	for broker, names := range names {
		channel, err := p.channelOf(ctx, broker)
		if err != nil {
			return err
		}
		if channel == "" {
			continue
		}
		if err := p.waitChannel(ctx, channel, names); err != nil {
			return err
		}
	}
	return nil
}

// brokerGoes is an error of CodeUnavailable where the broker of a trigger is gone, or on its way out: the trigger never becomes ready.
func (p *Platform) brokerGoes(ctx context.Context, trigger *unstructured.Unstructured) error {
	broker, err := p.broker(ctx, brokerOf(trigger))
	if err == nil && (broker == nil || broker.GetDeletionTimestamp() != nil) {
		err = app.Errorf(app.CodeUnavailable, "see the brokers: gitd brokers", "the trigger %s does not become ready: the broker %s is gone", trigger.GetName(), brokerOf(trigger))
	}
	return err
}

// waitChannel waits until a channel has triggers.
func (p *Platform) waitChannel(ctx context.Context, channel string, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for has := false; !has; {
		var err error
		if has, err = p.channelHas(ctx, channel, names); err != nil && ctx.Err() == nil {
			return may(err)
		}
		wait := lookEvery
		if has {
			wait = dispatcherSettles
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return p.notReady("channel", channels, channel, "it does not have the triggers")
		}
	}
	return nil
}

// channelOf is the name of a broker's channel; "" where it is of a kind that is not known here.
func (p *Platform) channelOf(ctx context.Context, broker string) (string, error) {
	u, err := p.broker(ctx, broker)
	if err != nil || u == nil {
		return "", err
	}
	notes, _, _ := unstructured.NestedStringMap(u.Object, "status", "annotations")
	if notes[channelKindNote] != inMemoryChannel {
		return "", nil
	}
	return notes[channelNameNote], nil
}

// channelHas says whether a channel delivers by the subscriptions that triggers have now.
func (p *Platform) channelHas(ctx context.Context, channel string, names []string) (bool, error) {
	l, err := p.c.Resource(subscriptions, p.o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: triggerLabel})
	if err != nil {
		return false, err
	}
	there, err := p.get(ctx, channels, channel)
	if there == nil || err != nil { // one that is gone, with its broker, delivers nothing
		return err == nil, err
	}
	return kube.Is(there, "Ready", "True") && kube.Observed(there) && hasAll(there, l.Items, names), nil
}

// hasAll says whether a channel has the subscriptions of triggers with these names.
func hasAll(channel *unstructured.Unstructured, subs []unstructured.Unstructured, names []string) bool {
	has, _, _ := unstructured.NestedSlice(channel.Object, "spec", "subscribers")
	for _, name := range names {
		i := slices.IndexFunc(subs, func(u unstructured.Unstructured) bool {
			return u.GetLabels()[triggerLabel] == name && u.GetDeletionTimestamp() == nil
		})
		if i < 0 || !slices.ContainsFunc(has, func(s any) bool {
			m, _ := s.(map[string]any)
			generation, _ := m["generation"].(int64)
			return m["uid"] == string(subs[i].GetUID()) && generation >= subs[i].GetGeneration()
		}) {
			return false
		}
	}
	return true
}
