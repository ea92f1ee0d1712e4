package knative

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Knative's controller writes the whole list of a channel's subscribers, as it knew it, for each subscription that comes or goes, and does not ask whether it has changed meanwhile
// (knative.dev/eventing, pkg/reconciler/subscription/subscription.go: patchSubscription, CreateMergePatch). Where two go at a time, or one comes while another goes, the list can get
// one back that has gone. One that comes is written again; one that is back stays: to its trigger, which is not there, every event of the broker is taken for ever, and each is a dead
// letter of its app. So gitd changes the subscribers of a channel for one app at a time, has triggers go one after the other, and removes what stays nevertheless.

// lockChannels waits for the channels of triggers, and returns what lets them go; it may be called more than once.
func (p *Platform) lockChannels(all ...unstructured.Unstructured) (free func()) {
	brokers := map[string]bool{}
	for i := range all {
		brokers[brokerOf(&all[i])] = true
	}
	var held []func()
	for _, broker := range slices.Sorted(maps.Keys(brokers)) { // in order: two that wait for each other's would wait for ever
		held = append(held, p.locks.Lock("channel "+broker))
	}
	return func() {
		for _, unlock := range held {
			unlock()
		}
	}
}

// tidyTries bounds how often tidy looks at a channel: it changes while others' triggers do.
const tidyTries = 20

// tidy removes from the channel of a broker the subscribers whose subscriptions are gone.
func (p *Platform) tidy(ctx context.Context, broker string) error {
	channel, err := p.channelOf(ctx, broker)
	if channel == "" || err != nil {
		return err
	}
	for range tidyTries {
		there, err := p.get(ctx, channels, channel)
		if there == nil || err != nil {
			return may(err)
		}
		subs, err := p.c.Resource(subscriptions, p.o.Namespace).List(ctx, metav1.ListOptions{}) // after the channel: one that is made meanwhile is not in what was read of it
		if err != nil {
			return may(err)
		}
		i, uid := stale(there, subs.Items)
		if uid == "" {
			return nil
		}
		at := fmt.Sprintf("/spec/subscribers/%d", i)
		patch, err := json.Marshal([]map[string]any{{"op": "test", "path": at + "/uid", "value": uid}, {"op": "remove", "path": at}})
		if err != nil {
			return err
		}
		_, err = p.c.Resource(channels, p.o.Namespace).Patch(ctx, channel, types.JSONPatchType, patch, metav1.PatchOptions{})
		if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) { // another one stands there now
			return may(err)
		}
	}
	return nil
}

// may is an error but that gitd may not do it: what it is for is done as far as gitd may.
func may(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// stale finds a subscriber of a broker's channel without a subscription: a subscription is there until its subscriber is not. uid is "" for none. What does not lead to the filter of
// the brokers was put there by hand, and stays.
func stale(channel *unstructured.Unstructured, subs []unstructured.Unstructured) (at int, uid string) {
	has, _, _ := unstructured.NestedSlice(channel.Object, "spec", "subscribers")
	for i, s := range has {
		m, _ := s.(map[string]any)
		uid, _ := m["uid"].(string)
		to, _ := m["subscriberUri"].(string)
		if uid != "" && strings.Contains(to, "://broker-filter.") && !slices.ContainsFunc(subs, func(u unstructured.Unstructured) bool { return string(u.GetUID()) == uid }) {
			return i, uid
		}
	}
	return 0, ""
}
