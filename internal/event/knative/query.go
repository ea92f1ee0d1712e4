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

// view reads what is known of the letters of an app, of an event, or with 0 of all.
func (p *Platform) view(ctx context.Context, appID, number int64) (*view, error) {
	live, err := p.live(ctx, "")
	if err != nil {
		return nil, err
	}
	all, err := p.letters(ctx, appID, number)
	if err != nil {
		return nil, err
	}
	if all, err = p.genuine(ctx, all, live); err != nil {
		return nil, err
	}
	v := &view{live: live, letters: map[int64][]keeper.Letter{}}
	for _, l := range all {
		if !l.Out || l.Again == nil {
			v.letters[l.Number] = append(v.letters[l.Number], l)
		}
	}
	return v, nil
}

// record is an event with what is known of its deliveries: those that failed, and to which triggers Knative takes it.
func (v *view) record(s keeper.Seen, e event.Event) event.Record {
	r := event.Record{Number: s.Number, Broker: s.Broker, From: s.From, Accepted: s.Time, Event: e}
	for _, l := range v.letters[s.Number] {
		r.Deliveries = append(r.Deliveries, delivery(l))
	}
	add := func(d event.DeliveryRecord) {
		if !slices.ContainsFunc(r.Deliveries, func(o event.DeliveryRecord) bool { return o.AppID == d.AppID && o.Trigger == d.Trigger }) {
			r.Deliveries = append(r.Deliveries, d)
		}
	}
	for _, t := range s.Took {
		state := event.StateDelivered
		if t.Sink {
			state = event.StateSunk
		}
		add(event.DeliveryRecord{App: t.App, AppID: t.AppID, Trigger: t.Trigger, State: state})
	}
	takers := passing(v.live, s.Broker, &e)
	if s.From.Kind == event.FromSource || slices.ContainsFunc(v.letters[s.Number], func(l keeper.Letter) bool { return l.Out }) {
		takers = nil // Knative does not have it, or its broker has refused it
	}
	for _, t := range takers {
		add(event.DeliveryRecord{App: t.App, AppID: t.ID, Trigger: t.Name, State: event.StateHandedOver})
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
		if l.Out {
			d.Reason = "the broker refused it after it was accepted: " + d.Reason
		}
		d.Log = []event.Attempt{{At: l.Time, Sink: l.Failure.Destination, Status: l.Failure.Status, Error: d.Reason}}
	}
	return d
}

// seenOf is what is known of the event of a letter that is not among the last events.
func seenOf(l keeper.Letter) keeper.Seen {
	return keeper.Seen{Number: l.Number, Broker: l.Broker, From: l.From, Time: l.Time}
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
	of := int64(0)
	if q.Dead && len(q.Apps) == 1 {
		for of = range q.Apps { // its letters are all that the answer needs
		}
	}
	v, err := p.view(ctx, of, 0)
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
	var gone []keeper.Letter // one of each event that is no longer among the last ones
	for number, letters := range v.letters {
		r := v.record(keeper.Seen{Number: number, Broker: letters[0].Broker, From: letters[0].From}, event.Event{})
		if !known[number] && (q.Before == 0 || number < q.Before) && !letters[0].Time.Before(q.Since) && (!q.Dead || matches(q, &r)) {
			gone = append(gone, letters[0])
		}
	}
	slices.SortFunc(gone, func(a, b keeper.Letter) int { return cmp.Compare(b.Number, a.Number) })
	before := len(out)
	err = p.full(ctx, gone, func(l keeper.Letter) bool {
		if e, ok := ofLetter(l); ok {
			add(v.record(seenOf(l), e))
		}
		return q.Limit == 0 || len(out)-before < q.Limit
	})
	if err != nil {
		return nil, err
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
	v, err := p.view(ctx, 0, number)
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
	err = p.full(ctx, v.letters[number], func(l keeper.Letter) bool {
		if e, ok := ofLetter(l); ok {
			r := v.record(seenOf(l), e)
			out = &r
		}
		return out == nil
	})
	if err == nil && out == nil {
		err = event.NoEvent(number)
	}
	if err != nil {
		return event.Record{}, err
	}
	return *out, nil
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
		live, err := p.recent(ctx)
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
