package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// SetTriggers implements event.Platform. A trigger that is among the new ones stays the same object, with all that Knative has queued for it. It can be
// repeated: what is as it should be is not touched.
func (p *Platform) SetTriggers(ctx context.Context, of event.Owner, all []event.Trigger) error {
	defer p.locks.Lock("app " + of.App)()
	if err := p.installed(ctx); err != nil {
		if len(all) == 0 {
			return nil
		}
		return err
	}
	there, err := p.list(ctx, triggers, appLabel, of.App)
	if err != nil {
		return explained(err, "list the triggers of "+of.App)
	}
	var wanted, delivers []*unstructured.Unstructured
	for i := range all {
		want, hasBroker, err := p.wanted(ctx, of, &all[i])
		if err != nil {
			return err
		}
		if wanted = append(wanted, want); hasBroker {
			delivers = append(delivers, want)
		}
	}
	free := p.lockChannels(slices.Concat(there, values(wanted))...)
	kept := false // by what is removed later
	defer func() {
		if !kept {
			free()
		}
	}()
	bridges, err := p.bridge(ctx, wanted, there)
	if err != nil {
		return err
	}
	for _, want := range wanted {
		if err := p.applyTrigger(ctx, want, there); err != nil {
			return err
		}
	}
	if err := p.waitTaken(ctx, delivers...); err != nil {
		return explained(err, "wait for the triggers of "+of.App)
	}
	if len(bridges) > 0 {
		if err := settle(ctx); err != nil {
			return err
		}
	}
	old := bridges
	for _, u := range there {
		if !slices.ContainsFunc(wanted, func(w *unstructured.Unstructured) bool { return w.GetName() == u.GetName() }) {
			old = append(old, u)
		}
	}
	if len(old) == 0 {
		return nil
	}
	kept = true
	return explained(p.retire(ctx, old, free), "delete the triggers of "+of.App)
}

// values are objects by value.
func values(all []*unstructured.Unstructured) (out []unstructured.Unstructured) {
	for _, u := range all {
		out = append(out, *u)
	}
	return out
}

// triggerName has one dot: neither apps nor triggers have one in their names.
func triggerName(name, trigger string) string { return name + "." + trigger }

// wanted is the object of a trigger, and says whether its broker is there. Where it is not, the trigger gets its events once it is made.
func (p *Platform) wanted(ctx context.Context, of event.Owner, t *event.Trigger) (want *unstructured.Unstructured, hasBroker bool, err error) {
	broker, err := p.ensureBroker(ctx, t.Broker)
	hasBroker = app.CodeOf(err) != app.CodeNotFound
	if err != nil && hasBroker {
		return nil, false, err
	}
	if err := p.ensureNamespace(ctx); err != nil {
		return nil, false, err
	}
	token, err := p.ensureKeeper(ctx)
	if err != nil {
		return nil, false, err
	}
	want, err = p.trigger(of, t, token, host(broker))
	return want, hasBroker, err
}

// applyTrigger applies a trigger. One that is of another broker, or on its way out, is replaced: a trigger cannot change its broker.
func (p *Platform) applyTrigger(ctx context.Context, want *unstructured.Unstructured, there []unstructured.Unstructured) error {
	for i := range there {
		if there[i].GetName() != want.GetName() || brokerOf(&there[i]) == brokerOf(want) && there[i].GetDeletionTimestamp() == nil {
			continue
		}
		if err := p.replace(ctx, &there[i]); err != nil {
			return explained(err, "move the trigger "+want.GetName()+" to the broker "+brokerOf(want))
		}
	}
	_, _, err := p.c.Apply(ctx, triggers, want)
	return explained(err, "apply the trigger "+want.GetName())
}

// brokerOf is the broker of a trigger's object.
func brokerOf(u *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(u.Object, "spec", "broker")
	return name
}

// trigger is the object of a trigger. The app is named by its URL: one that is stopped, or gone, is one that cannot be delivered to, and not one that no event
// is kept for.
func (p *Platform) trigger(of event.Owner, t *event.Trigger, token, domain string) (*unstructured.Unstructured, error) {
	spec, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	owner, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	filters := []any{}
	text, err := json.Marshal(append(slices.Clone(t.Filters), event.NotOwn()))
	if err == nil {
		err = json.Unmarshal(text, &filters)
	}
	if err != nil {
		return nil, err
	}
	d := &t.Delivery
	sink := cmp.Or(p.sinkOf(of, t, domain), p.keeperURL(token, domain)+fmt.Sprintf("/dead/%s/%s/%d/%s", t.Broker, of.App, of.ID, t.Name))
	delivery := map[string]any{"retry": int64(d.Retry), "backoffPolicy": string(d.Policy), "backoffDelay": event.FormatDuration(d.Delay), "deadLetterSink": map[string]any{"uri": sink}}
	if d.Timeout > 0 {
		delivery["timeout"] = event.FormatDuration(d.Timeout)
	}
	return p.object("eventing.knative.dev/v1", "Trigger", triggerName(of.App, t.Name), map[string]any{appLabel: of.App, idLabel: strconv.FormatInt(of.ID, 10)},
		map[string]any{triggerNote: string(spec), ownerNote: string(owner)}, map[string]any{"spec": map[string]any{
			"broker": t.Broker, "filters": filters, "subscriber": map[string]any{"uri": p.appURL(of.App, t.Path, domain)}, "delivery": delivery,
		}}), nil
}

// sinkOf is the URL of what takes the dead letters of a trigger; "" where they are kept.
func (p *Platform) sinkOf(of event.Owner, t *event.Trigger, domain string) string {
	if t.Delivery.DeadLetter == "" {
		return ""
	}
	s, err := event.ParseSink(t.Delivery.DeadLetter)
	if err != nil || p.checkSinks([]event.Trigger{*t}) != nil { // of a release from before it was checked
		p.o.Log("events: the dead letters of %s/%s are kept here: they cannot go to %s", of.App, t.Name, app.Printable(t.Delivery.DeadLetter))
		return ""
	}
	return cmp.Or(s.URL, p.appURL(s.App, s.Path, domain))
}

// again is how the keeper delivers to a trigger of a broker with this URL.
func (p *Platform) again(t *event.Live, broker string) keeper.Again {
	return keeper.Again{To: p.appURL(t.App, t.Path, host(broker)), Reply: broker, Delivery: t.Delivery, Dead: p.sinkOf(t.Owner, &t.Trigger, host(broker))}
}

// appURL is where an app takes requests within the cluster.
func (p *Platform) appURL(name, path, domain string) string {
	return "http://" + name + "." + p.o.NamespaceOf(name) + "." + domain + path
}

func (p *Platform) keeperURL(token, domain string) string {
	return "http://" + keeperName + "." + p.o.Namespace + "." + domain + "/in/" + keeper.InKey(token)
}

// see lets the keeper see all events of a broker.
func (p *Platform) see(ctx context.Context, broker, token, domain string) error {
	o := p.object("eventing.knative.dev/v1", "Trigger", seenTrigger(broker), map[string]any{seenLabel: broker}, nil, map[string]any{"spec": map[string]any{
		"broker": broker, "subscriber": map[string]any{"uri": p.keeperURL(token, domain) + "/seen/" + broker},
		"delivery": map[string]any{"retry": int64(0), "deadLetterSink": map[string]any{"uri": "http://" + voidName + "." + p.o.Namespace + "." + domain}},
	}})
	if _, _, err := p.c.Apply(ctx, triggers, o); err != nil {
		return explained(err, "apply the trigger "+o.GetName())
	}
	return explained(p.waitTaken(ctx, o), "wait for the trigger "+o.GetName())
}

// Triggers implements event.Platform. What waits for an app is known of what was asked for by hand alone.
func (p *Platform) Triggers(ctx context.Context, name string) ([]event.Live, error) {
	all, err := p.live(ctx, name)
	if err != nil {
		return nil, err
	}
	of := int64(0)
	if name != "" && len(all) > 0 {
		of = all[0].ID
	}
	letters, err := p.letters(ctx, of, 0)
	if err != nil {
		return nil, err
	}
	if letters, err = p.genuine(ctx, letters, all); err != nil {
		return nil, err
	}
	for i := range all {
		for _, l := range letters {
			if l.AppID == all[i].ID && l.Trigger == all[i].Name {
				count(l, &all[i].Queued, &all[i].Dead)
			}
		}
	}
	return all, nil
}

// recentTime is how old what followers of events know of the triggers may be: each event that comes would ask the API server otherwise.
const recentTime = 3 * time.Second

// recent are the live triggers of all apps, or those of some seconds ago.
func (p *Platform) recent(ctx context.Context) ([]event.Live, error) {
	defer p.locks.Lock("/recent")()
	if time.Since(p.listed) < recentTime {
		return p.lately, nil
	}
	all, err := p.live(ctx, "")
	if err == nil {
		p.lately, p.listed = all, time.Now()
	}
	return all, err
}

// live reads the triggers of one app, or of all; none where the cluster has no Eventing.
func (p *Platform) live(ctx context.Context, name string) ([]event.Live, error) {
	if err := p.installed(ctx); err != nil {
		return nil, err
	}
	kv := []string{}
	if name != "" {
		kv = []string{appLabel, name}
	}
	all, err := p.list(ctx, triggers, kv...)
	if err != nil {
		return nil, explained(err, "list the triggers")
	}
	out := []event.Live{}
	for i := range all {
		notes := all[i].GetAnnotations()
		if notes[triggerNote] == "" || all[i].GetDeletionTimestamp() != nil {
			continue
		}
		var l event.Live
		if err := json.Unmarshal([]byte(notes[triggerNote]), &l.Trigger); err == nil {
			err = json.Unmarshal([]byte(notes[ownerNote]), &l.Owner)
			if err == nil {
				out = append(out, l)
				continue
			}
		}
		p.o.Log("events: the trigger %s is left out: what gitd has written on it was changed", all[i].GetName())
	}
	slices.SortFunc(out, func(a, b event.Live) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Owners implements event.Platform.
func (p *Platform) Owners(ctx context.Context) (map[string]event.Owner, error) {
	if err := p.installed(ctx); err != nil {
		return map[string]event.Owner{}, nil
	}
	all, err := p.live(ctx, "")
	if err != nil {
		return nil, err
	}
	out := map[string]event.Owner{}
	for _, l := range all {
		out[l.App] = l.Owner
	}
	return out, nil
}

// Forget implements event.Platform. What Knative has queued is tried on, and becomes dead letters.
func (p *Platform) Forget(ctx context.Context, of event.Owner) error {
	defer p.locks.Lock("app " + of.App)()
	if err := p.installed(ctx); err != nil {
		return nil
	}
	all, err := p.list(ctx, triggers, appLabel, of.App, idLabel, strconv.FormatInt(of.ID, 10))
	if err != nil {
		return explained(err, "list the triggers of "+of.App)
	}
	return explained(p.retire(ctx, all, p.lockChannels(all...)), "delete the triggers of "+of.App)
}

// find returns a live trigger of an app.
func (p *Platform) find(ctx context.Context, of event.Owner, name string) (*event.Live, error) {
	all, err := p.live(ctx, of.App)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name && all[i].ID == of.ID {
			return &all[i], nil
		}
	}
	return nil, app.Errorf(app.CodeNotFound, "see the triggers: gitd triggers "+of.App, "the app %s has no trigger %q", of.App, app.Clip(name, 60))
}
