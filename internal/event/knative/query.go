package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// pageSize is how many events are asked for at once.
const pageSize = 500

// each calls do with the events that the keeper has, the newest first, until it returns false; those below a number, or with 0 all.
func (p *Platform) each(ctx context.Context, before int64, do func(keeper.Seen, event.Event) bool) error {
	for {
		q := url.Values{"limit": {strconv.Itoa(pageSize)}}
		if before > 0 {
			q.Set("before", strconv.FormatInt(before, 10))
		}
		page, err := lines[keeper.Seen](p.ask(ctx, http.MethodGet, "/seen", q, nil))
		if err != nil {
			return err
		}
		for _, s := range page {
			e, err := event.Parse(s.Event)
			if err == nil && !do(s, plain(e)) {
				return nil
			}
			before = s.Number
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// plain is an event without what Knative's brokers add on the way.
func plain(e event.Event) event.Event {
	return e.With("knativebrokerttl", "").With("knativearrivaltime", "")
}

// view is what answers about events go by: the triggers, and the letters by the number of the event.
type view struct {
	live    []event.Live
	letters map[int64][]keeper.Letter
}

func (p *Platform) view(ctx context.Context, number int64, full bool) (*view, error) {
	live, err := p.live(ctx, "")
	if err != nil {
		return nil, err
	}
	all, err := p.letters(ctx, 0, number, full)
	if err != nil {
		return nil, err
	}
	v := &view{live: live, letters: map[int64][]keeper.Letter{}}
	for _, l := range all {
		if l.Out || full && !genuine(l, live) {
			continue
		}
		v.letters[l.Number] = append(v.letters[l.Number], l)
	}
	return v, nil
}

// genuine says whether a letter is of an event that its trigger takes. For a moment after a trigger was replaced, Knative takes every event to the one before, and what it
// then cannot deliver has nothing that says where to.
func genuine(l keeper.Letter, live []event.Live) bool {
	if l.Failure.Destination != "" || l.Again != nil {
		return true
	}
	i := slices.IndexFunc(live, func(t event.Live) bool { return t.ID == l.AppID && t.Name == l.Trigger })
	e, err := event.Parse(l.Event)
	if i < 0 || err != nil {
		return true
	}
	return len(passing(live[i:i+1], l.Broker, &e)) == 1
}

// record is an event with what is known of its deliveries: those that failed, and to which triggers Knative takes it.
func (v *view) record(s keeper.Seen, e event.Event) event.Record {
	r := event.Record{Number: s.Number, Broker: s.Broker, From: s.From, Accepted: s.Time, Event: e}
	for _, l := range v.letters[s.Number] {
		r.Deliveries = append(r.Deliveries, delivery(l))
	}
	for _, t := range passing(v.live, s.Broker, &e) {
		if !slices.ContainsFunc(r.Deliveries, func(d event.DeliveryRecord) bool { return d.AppID == t.ID && d.Trigger == t.Name }) {
			r.Deliveries = append(r.Deliveries, event.DeliveryRecord{App: t.App, AppID: t.ID, Trigger: t.Name, State: event.StateHandedOver})
		}
	}
	slices.SortFunc(r.Deliveries, func(a, b event.DeliveryRecord) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Trigger, b.Trigger))
	})
	return r
}

// delivery is that of a letter.
func delivery(l keeper.Letter) event.DeliveryRecord {
	d := event.DeliveryRecord{Number: l.ID, App: l.App, AppID: l.AppID, Trigger: l.Trigger, State: event.StateDead, Attempts: l.Tries}
	if l.Again != nil {
		d.State, d.Replay = event.StateQueued, true
	}
	if l.Failure.Destination == "" && l.Again == nil {
		d.Reason = "Knative does not say why: the app did not answer in time, or the trigger went"
	}
	if l.Failure.Destination != "" {
		d.Reason = l.Failure.String()
		d.Log = []event.Attempt{{At: l.Time, Sink: l.Failure.Destination, Status: l.Failure.Status, Error: d.Reason}}
	}
	return d
}

// ofLetter is the event of a letter as the app would have got it.
func ofLetter(l keeper.Letter) (event.Event, bool) {
	e, err := event.Parse(l.Event)
	return plain(e), err == nil
}

// List implements event.Platform: of the last events, and of all dead letters.
func (p *Platform) List(ctx context.Context, q event.Query) ([]event.Record, error) {
	passes, err := event.Compile(q.Filters)
	if err != nil {
		return nil, err
	}
	v, err := p.view(ctx, 0, true)
	if err != nil {
		return nil, err
	}
	var out []event.Record
	add := func(r event.Record) {
		if passes(&r.Event) && matches(q, &r) {
			out = append(out, r)
		}
	}
	known := map[int64]bool{}
	err = p.each(ctx, q.Before, func(s keeper.Seen, e event.Event) bool {
		if s.Time.Before(q.Since) {
			return false
		}
		known[s.Number] = true
		add(v.record(s, e))
		return q.Limit == 0 || len(out) < q.Limit
	})
	if err != nil {
		return nil, err
	}
	for number, letters := range v.letters { // of events that are no longer among the last ones
		l := letters[0]
		if e, ok := ofLetter(l); ok && !known[number] && (q.Before == 0 || number < q.Before) && !l.Time.Before(q.Since) {
			add(v.record(keeper.Seen{Number: number, Broker: l.Broker, Time: l.Time}, e))
		}
	}
	slices.SortFunc(out, func(a, b event.Record) int { return cmp.Compare(b.Number, a.Number) })
	if q.Limit > 0 && len(out) > q.Limit {
		out = out[:q.Limit]
	}
	return out, nil
}

// matches says whether a record is one that a query may see.
func matches(q event.Query, r *event.Record) bool {
	if q.Dead {
		return slices.ContainsFunc(r.Deliveries, func(d event.DeliveryRecord) bool {
			return d.State == event.StateDead && (q.Apps == nil || q.Apps[d.AppID])
		})
	}
	return q.Sees(r)
}

// Show implements event.Platform.
func (p *Platform) Show(ctx context.Context, number int64) (event.Record, error) {
	v, err := p.view(ctx, number, true)
	if err != nil {
		return event.Record{}, err
	}
	var out *event.Record
	err = p.each(ctx, number+1, func(s keeper.Seen, e event.Event) bool {
		if s.Number == number {
			r := v.record(s, e)
			out = &r
		}
		return false
	})
	if err != nil {
		return event.Record{}, err
	}
	if out != nil {
		return *out, nil
	}
	for _, l := range v.letters[number] {
		if e, ok := ofLetter(l); ok {
			return v.record(keeper.Seen{Number: number, Broker: l.Broker, Time: l.Time}, e), nil
		}
	}
	return event.Record{}, event.NoEvent(number)
}

// Tail implements event.Platform: it follows what the keeper sees.
func (p *Platform) Tail(ctx context.Context, q event.Query, do func(r event.Record, missed int) error) error {
	passes, err := event.Compile(q.Filters)
	if err != nil {
		return err
	}
	to, err := p.ensureBroker(ctx, q.Broker)
	if err != nil || to == "" {
		return err
	}
	token, err := p.ensureKeeper(ctx)
	if err != nil {
		return err
	}
	stream, err := p.c.REST.Get().AbsPath(p.keeperPath("/seen")).Param("follow", "1").SetHeader(keeper.TokenHeader, token).MaxRetries(0).Stream(ctx)
	if err != nil {
		return explained(err, "follow the events")
	}
	defer stream.Close()
	for d := json.NewDecoder(stream); ; {
		var s keeper.Seen
		if err := d.Decode(&s); err != nil {
			if ctx.Err() != nil || err == io.EOF {
				return nil
			}
			return app.Errorf(app.CodeUnavailable, "follow them again", "the stream of events broke: %w", err)
		}
		e, err := event.Parse(s.Event)
		if err != nil {
			continue
		}
		if e = plain(e); !passes(&e) {
			continue
		}
		live, err := p.live(ctx, "")
		if err != nil {
			return err
		}
		v := &view{live: live}
		if r := v.record(s, e); matches(q, &r) {
			if err := do(r, 0); err != nil {
				return err
			}
		}
	}
}
