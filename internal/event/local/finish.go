package local

import (
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// finish notes how an attempt ended. Where the disk does not take it, it is tried until it does: the event is not sent again for that.
func (p *Platform) finish(d *delivery, t *trigger, o outcome) {
	said := false
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := p.w.write(never, func(tx *tx) error { return o.write(tx, d, t) }, func() {
			if o.reply != nil {
				o.reply.after()
			}
		})
		switch {
		case err == nil:
			return
		case o.reply != nil && errors.Is(err, errStale):
			o.reply.fanOut()
			continue
		case o.reply != nil && app.CodeOf(err) == app.CodeNotFound: // its broker was deleted: the app has taken the event either way
			o.reply, o.note = nil, "the answer was left out: "+err.Error()
			continue
		}
		if !said {
			p.o.Log("events: how d%d ended cannot be written, and is tried again: %v", d.number, err)
			said = true
		}
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
			return
		}
	}
}

// write notes the outcome in a transaction.
func (o *outcome) write(t *tx, d *delivery, to *trigger) error {
	at, took, sink, status := o.at.UnixMilli(), o.took.Milliseconds(), o.failure.Destination, o.failure.Status
	if o.verdict == event.Delivered {
		state := delivered
		if d.dead {
			state = sunk
		}
		if _, err := t.exec("UPDATE deliveries SET state = ?, attempts = attempts + 1, at = ?, took = ?, sink = ?, status = ?, error = ?, reason = '' WHERE number = ?",
			state, at, took, sink, status, o.note, d.number); err != nil || o.reply == nil {
			return err
		}
		return o.reply.write(t)
	}
	if o.reason != "" { // nothing was tried
		_, err := t.exec("UPDATE deliveries SET state = ?, reason = ? WHERE number = ? AND state = ?", dead, o.reason, d.number, queued)
		return err
	}
	text := o.failure.String()
	changed, err := t.count("UPDATE deliveries SET attempts = attempts + 1, at = ?, took = ?, sink = ?, status = ?, error = ? WHERE number = ? AND state = ?", at, took, sink, status, text, d.number, queued)
	if err != nil {
		return err
	}
	if changed == 0 { // its trigger or its app went meanwhile
		return nil
	}
	if _, err := t.exec("INSERT INTO attempts (delivery, at, took, sink, status, error) VALUES (?, ?, ?, ?, ?, ?)", d.number, at, took, sink, status, text); err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM attempts WHERE delivery = ?1 AND rowid NOT IN (SELECT min(rowid) FROM attempts WHERE delivery = ?1)
		AND rowid NOT IN (SELECT rowid FROM attempts WHERE delivery = ?1 ORDER BY rowid DESC LIMIT ?2)`, d.number, lastAttempts); err != nil {
		return err
	}
	return o.next(t, d, to)
}

// lastAttempts is how many failed attempts of a delivery are kept, beside the first one: there may be hundreds, and as many again at each retry by hand.
const lastAttempts = 10

// next decides what follows a failed attempt: a retry, what takes dead letters, or the end.
func (o *outcome) next(t *tx, d *delivery, to *trigger) error {
	spec := &to.Delivery
	if o.verdict == event.Retry && d.attempts < spec.Retry {
		due := o.at.Add(o.took).Add(spec.Pause(d.attempts)).UnixMilli()
		_, err := t.exec("UPDATE deliveries SET due = ? WHERE number = ?", due, d.number)
		return err
	}
	if !d.dead {
		if _, err := t.exec("UPDATE deliveries SET failed_sink = ?, failed_status = ?, failed_error = ? WHERE number = ?", o.failure.Destination, o.failure.Status, string(o.failure.Data), d.number); err != nil {
			return err
		}
		if spec.DeadLetter != "" {
			_, err := t.exec("UPDATE deliveries SET dead = 1, attempts = 0, due = ? WHERE number = ?", o.at.Add(o.took).UnixMilli(), d.number)
			return err
		}
	}
	_, err := t.exec("UPDATE deliveries SET state = ?, reason = ? WHERE number = ?", dead, o.why(d, spec), d.number)
	return err
}

// why says why a delivery is dead.
func (o *outcome) why(d *delivery, spec *event.Delivery) string {
	if d.dead && spec.DeadLetter == "" { // a newer release has the trigger without it
		return fmt.Sprintf("the app failed with %s, and the trigger has nothing any more that takes its dead letters", d.failed)
	}
	what := "the app failed"
	if d.dead {
		what = spec.DeadLetter + ", which takes its dead letters, failed as well"
	}
	if o.verdict == event.Failed {
		return fmt.Sprintf("%s with %s: it is not tried again for that", what, o.failure)
	}
	return fmt.Sprintf("%s %d times, at last with %s", what, d.attempts+1, o.failure)
}
