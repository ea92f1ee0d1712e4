package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// The query of events, and of deliveries. data may be long: it is read where one event is asked for.
const (
	eventColumns    = "number, broker, source, id, type, accepted, sender, sender_name, sender_id, attributes"
	deliveryColumns = "number, app, app_id, trigger, state, reason, attempts, due, replay, at, took, sink, status, error, dead, failed_sink, failed_status, failed_error"
)

// maxLooked is how many events a query with filters looks at.
const maxLooked = 100_000

// List implements event.Platform.
func (p *Platform) List(ctx context.Context, q event.Query) ([]event.Record, error) {
	passes, err := event.Compile(q.Filters)
	if err != nil {
		return nil, err
	}
	where, args, err := conditions(q)
	if err != nil {
		return nil, err
	}
	list := []event.Record{}
	before, looked := q.Before, 0
	for len(list) < q.Limit && looked < maxLooked {
		page, err := p.page(ctx, where, args, before, max(q.Limit, 100))
		if err != nil || len(page) == 0 {
			return list, err
		}
		for i := range page {
			r := &page[i]
			before = r.Number
			looked++
			if len(list) == q.Limit || !passes(&r.Event) {
				continue
			}
			if r.Deliveries, err = p.deliveries(ctx, r.Number, false); err != nil {
				return nil, err
			}
			list = append(list, *r)
		}
	}
	return list, nil
}

// conditions are those of a query that the database decides.
func conditions(q event.Query) (where string, args []any, err error) {
	all := []string{"TRUE"}
	add := func(condition string, values ...any) {
		all = append(all, condition)
		args = append(args, values...)
	}
	if q.Broker != "" {
		add("broker = ?", q.Broker)
	}
	if !q.Since.IsZero() {
		add("accepted >= ?", q.Since.UnixMilli())
	}
	for _, f := range q.Filters { // what an index can decide
		if len(f.Exact) == 1 && f.Exact["type"] != "" {
			add("type = ?", f.Exact["type"])
		}
	}
	var apps []byte
	if q.Apps != nil {
		if apps, err = json.Marshal(slices.Sorted(maps.Keys(q.Apps))); err != nil {
			return "", nil, err
		}
	}
	switch {
	case q.Dead && q.Apps != nil:
		add("number IN (SELECT event FROM deliveries WHERE state = 3 AND app_id IN (SELECT value FROM json_each(?)))", string(apps))
	case q.Dead:
		add("number IN (SELECT event FROM deliveries WHERE state = 3)")
	case q.Apps != nil:
		add("(sender_id IN (SELECT value FROM json_each(?)) OR sender = 'key' AND sender_name = ? OR EXISTS (SELECT 1 FROM deliveries d WHERE d.event = events.number AND d.app_id IN (SELECT value FROM json_each(?))))", string(apps), q.Key, string(apps))
	}
	return strings.Join(all, " AND "), args, nil
}

// page returns events without their data, and without their deliveries.
func (p *Platform) page(ctx context.Context, where string, args []any, before int64, most int) ([]event.Record, error) {
	if before > 0 {
		where += " AND number < ?"
		args = append(slices.Clone(args), before)
	}
	rows, err := p.db.QueryContext(ctx, "SELECT "+eventColumns+", NULL FROM events WHERE "+where+" ORDER BY number DESC LIMIT ?", append(slices.Clone(args), most)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []event.Record
	for rows.Next() {
		var r event.Record
		if err := scan(rows, &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func scan(row interface{ Scan(into ...any) error }, r *event.Record) error {
	var accepted int64
	var others string
	e := &r.Event
	if err := row.Scan(&r.Number, &r.Broker, &e.Source, &e.ID, &e.Type, &accepted, &r.From.Kind, &r.From.Name, &r.From.ID, &others, &e.Data); err != nil {
		return err
	}
	r.Accepted = fromMilli(accepted)
	if err := setOthers(e, others); err != nil {
		return err
	}
	*e = e.ForApp()
	return nil
}

// Show implements event.Platform.
func (p *Platform) Show(ctx context.Context, number int64) (r event.Record, err error) {
	err = scan(p.db.QueryRowContext(ctx, "SELECT "+eventColumns+", data FROM events WHERE number = ?", number), &r)
	if errors.Is(err, sql.ErrNoRows) {
		return r, event.NoEvent(number)
	}
	if err != nil {
		return r, err
	}
	r.Deliveries, err = p.deliveries(ctx, number, true)
	return r, err
}

var states = []event.State{queued: event.StateQueued, delivered: event.StateDelivered, sunk: event.StateSunk, dead: event.StateDead, discarded: event.StateDiscarded}

// deliveries returns those of an event, with all attempts or with the last one.
func (p *Platform) deliveries(ctx context.Context, number int64, all bool) ([]event.DeliveryRecord, error) {
	rows, err := p.db.QueryContext(ctx, "SELECT "+deliveryColumns+" FROM deliveries WHERE event = ? ORDER BY number", number)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []event.DeliveryRecord{}
	for rows.Next() {
		var d event.DeliveryRecord
		var state, phase, failedStatus int
		var due, at, took int64
		var a event.Attempt
		var failedSink, failedError string
		if err := rows.Scan(&d.Number, &d.App, &d.AppID, &d.Trigger, &state, &d.Reason, &d.Attempts, &due, &d.Replay, &at, &took, &a.Sink, &a.Status, &a.Error, &phase, &failedSink, &failedStatus, &failedError); err != nil {
			return nil, err
		}
		d.State = states[state]
		if state == queued {
			d.Due = fromMilli(due)
		}
		if at != 0 {
			a.At, a.Took = fromMilli(at), time.Duration(took)*time.Millisecond
			d.Log = []event.Attempt{a}
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil || !all {
		return list, err
	}
	for i := range list {
		d := &list[i]
		failed, err := p.attempts(ctx, d.Number)
		if err != nil {
			return nil, err
		}
		if d.State == event.StateDelivered || d.State == event.StateSunk { // the last one succeeded, and is not among those that failed
			failed = append(failed, d.Log...)
		}
		d.Log = failed
	}
	return list, nil
}

// attempts returns those of a delivery that failed.
func (p *Platform) attempts(ctx context.Context, delivery int64) (list []event.Attempt, err error) {
	rows, err := p.db.QueryContext(ctx, "SELECT at, took, sink, status, error FROM attempts WHERE delivery = ? ORDER BY at, rowid", delivery)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a event.Attempt
		var at, took int64
		if err := rows.Scan(&at, &took, &a.Sink, &a.Status, &a.Error); err != nil {
			return nil, err
		}
		a.At, a.Took = fromMilli(at), time.Duration(took)*time.Millisecond
		list = append(list, a)
	}
	return list, rows.Err()
}
