package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// Brokers implements event.Platform. A broker default that gitd did not make is used as it is. How many events wait, only Knative knows.
func (p *Platform) Brokers(ctx context.Context) ([]event.Broker, error) {
	if err := p.installed(ctx); err != nil {
		return nil, err
	}
	all, err := p.list(ctx, brokers)
	if err != nil {
		return nil, explained(err, "list the brokers")
	}
	letters, err := p.letters(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	out := []event.Broker{{Name: event.DefaultBroker}}
	for i := range all {
		b := event.Broker{Name: all[i].GetName(), By: all[i].GetAnnotations()[byNote], Created: all[i].GetCreationTimestamp().UTC(), Keys: given(&all[i])}
		if b.Name == event.DefaultBroker {
			out[0] = b
		} else {
			out = append(out, b)
		}
	}
	slices.SortFunc(out[1:], func(a, b event.Broker) int { return strings.Compare(a.Name, b.Name) })
	for i := range out {
		for _, l := range letters {
			if l.Broker == out[i].Name {
				count(l, &out[i].Queued, &out[i].Dead)
			}
		}
	}
	return out, nil
}

// count counts a letter.
func count(l keeper.Letter, queued, dead *int) {
	if l.Again != nil {
		*queued++
	} else {
		*dead++
	}
}

// CreateBroker implements event.Platform.
func (p *Platform) CreateBroker(ctx context.Context, name, by string) error {
	if err := event.CheckName(name); err != nil {
		return app.Errorf(app.CodeInvalidName, "choose another name", "a broker cannot have this name: %v", err)
	}
	if err := p.installed(ctx); err != nil {
		return err
	}
	there, err := p.broker(ctx, name)
	if err != nil {
		return err
	}
	if there != nil || name == event.DefaultBroker {
		return app.Errorf(app.CodeExists, "choose another name", "there is a broker %q already", name)
	}
	_, err = p.makeBroker(ctx, name, by)
	return err
}

// DeleteBroker implements event.Platform.
func (p *Platform) DeleteBroker(ctx context.Context, name string) error {
	if name == event.DefaultBroker {
		return app.Errorf(app.CodeInvalidInput, "nothing to do", "the default broker is always there")
	}
	if err := p.installed(ctx); err != nil {
		return err
	}
	there, err := p.broker(ctx, name)
	if err != nil {
		return err
	}
	if there == nil || there.GetLabels()[managedBy] != manager {
		return event.NoBroker(name)
	}
	refused, err := p.unused(ctx, name)
	if err != nil {
		return err
	}
	live, err := p.live(ctx, "")
	if err != nil {
		return err
	}
	apps := map[string]bool{}
	for _, l := range live {
		if l.Broker == name {
			apps[l.App] = true
		}
	}
	if len(apps) > 0 {
		return event.BrokerInUse(name, slices.Collect(maps.Keys(apps)))
	}
	if _, err := p.discard(ctx, refused); err != nil {
		return err
	}
	if err := p.forgetTokens(ctx, name); err != nil {
		return err
	}
	p.mu.Lock()
	delete(p.known, name)
	p.mu.Unlock()
	if err := p.remove(ctx, triggers, seenTrigger(name)); err != nil {
		return explained(err, "delete the broker "+name)
	}
	return explained(p.remove(ctx, brokers, name), "delete the broker "+name)
}

// given are the keys that a broker was given to.
func given(broker *unstructured.Unstructured) []string {
	return strings.Fields(broker.GetAnnotations()[keysNote])
}

// ShareBroker implements event.Platform. Who has a broker's URL can send to it: Knative does not ask who it is.
func (p *Platform) ShareBroker(ctx context.Context, name string, keys []string) error {
	if name == event.DefaultBroker {
		return event.DefaultIsShared()
	}
	if err := p.installed(ctx); err != nil {
		return err
	}
	there, err := p.broker(ctx, name)
	if err != nil {
		return err
	}
	if there == nil || there.GetLabels()[managedBy] != manager {
		return event.NoBroker(name)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{keysNote: strings.Join(keys, " ")}}})
	if err != nil {
		return err
	}
	_, err = p.c.Resource(brokers, p.o.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return explained(err, "share the broker "+name)
}

// sends fails where a sender may not send to a broker.
func (p *Platform) sends(ctx context.Context, from event.Sender, name string) error {
	if p.o.Rights == nil || name == event.DefaultBroker {
		return nil
	}
	there, err := p.broker(ctx, name)
	if err != nil || there == nil {
		return err
	}
	if !p.o.Rights.Sends(from, given(there)) {
		return event.NotShared(name)
	}
	return nil
}

// unused returns the letters that go with a broker, those that it did not take: no app has them. It fails where others wait or are dead.
func (p *Platform) unused(ctx context.Context, name string) (refused []keeper.Letter, err error) {
	letters, err := p.letters(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	left, out := 0, 0
	for _, l := range letters {
		switch {
		case l.Broker != name:
		case !l.Out:
			left++
		case l.Again != nil:
			out++
		default:
			refused = append(refused, l)
		}
	}
	if out > 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "delete it when it has taken them: see gitd events list", "%d events are on their way to the broker %q", out, name)
	}
	if left > 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "retry them: gitd events retry APP; or let them go: gitd events discard APP", "the broker %q has %d deliveries that wait or are dead", name, left)
	}
	return refused, nil
}

// broker returns a broker; nil for none.
func (p *Platform) broker(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	there, err := p.get(ctx, brokers, name)
	if err != nil {
		return nil, explained(err, "look for the broker "+name)
	}
	return there, nil
}

// ensureBroker returns the URL of a broker. The default one is made where it is not there, of the class and with the channel that the cluster has for brokers
// that say nothing; one that gitd did not make is used as it is.
func (p *Platform) ensureBroker(ctx context.Context, name string) (string, error) {
	name = cmp.Or(name, event.DefaultBroker)
	defer p.locks.Lock(name)()
	p.mu.Lock()
	to := p.known[name]
	p.mu.Unlock()
	if to != "" {
		return to, nil
	}
	there, err := p.broker(ctx, name)
	if err != nil {
		return "", err
	}
	if there == nil {
		if name != event.DefaultBroker {
			return "", event.NoBroker(name)
		}
		return p.makeBroker(ctx, name, "")
	}
	return p.openBroker(ctx, name)
}

func (p *Platform) makeBroker(ctx context.Context, name, by string) (string, error) {
	if err := p.ensureNamespace(ctx); err != nil {
		return "", err
	}
	annotations := map[string]any{}
	if by != "" {
		annotations[byNote] = by
	}
	if _, _, err := p.c.Apply(ctx, brokers, p.object("eventing.knative.dev/v1", "Broker", name, map[string]any{}, annotations, nil)); err != nil {
		return "", explained(err, "make the broker "+name)
	}
	return p.openBroker(ctx, name)
}

// openBroker waits for a broker, lets the keeper see its events, and notes its URL.
func (p *Platform) openBroker(ctx context.Context, name string) (string, error) {
	token, err := p.ensureKeeper(ctx)
	if err != nil {
		return "", err
	}
	if err := p.waitReady(ctx, brokers, "broker", name); err != nil {
		return "", explained(err, "wait for the broker "+name)
	}
	there, err := p.broker(ctx, name)
	if err != nil {
		return "", err
	}
	if there == nil {
		return "", event.NoBroker(name)
	}
	to := address(there)
	if err := p.see(ctx, name, token, host(to)); err != nil {
		return "", err
	}
	p.mu.Lock()
	p.known[name] = to
	p.mu.Unlock()
	return to, nil
}

func address(broker *unstructured.Unstructured) string {
	to, _, _ := unstructured.NestedString(broker.Object, "status", "address", "url")
	return to
}

// host is the domain of the cluster's Services, as a broker's URL has it: "svc.cluster.local".
func host(broker string) string {
	if u, err := url.Parse(broker); err == nil {
		if _, domain, is := strings.Cut(u.Hostname(), ".svc."); is {
			return "svc." + domain
		}
	}
	return "svc.cluster.local"
}

// KnownSink is where apps send events to, what K_SINK is: the URL of the default broker; "" where there is none. It makes none.
func (p *Platform) KnownSink(ctx context.Context) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sink != "" {
		return p.sink
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	there, err := p.c.Resource(brokers, p.o.Namespace).Get(ctx, event.DefaultBroker, metav1.GetOptions{})
	if err == nil {
		p.sink = address(there)
	} else if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		p.o.Log("events: it is not known where apps send events to: %v", err)
	}
	return p.sink
}

// seenTrigger is the name of the trigger by which the keeper sees the events of a broker. Those of apps have one dot.
func seenTrigger(broker string) string { return "gitd.seen." + broker }
