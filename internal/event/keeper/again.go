package keeper

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// again queues letters, or events, to be delivered once more. They are on the disk when it answers, and stay there until an app has taken them.
func (k *Keeper) again(w http.ResponseWriter, r *http.Request) {
	var o Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var done Done
	for _, id := range o.Letters {
		letter, err := k.letters.read(id)
		if err != nil || letter.Again != nil {
			continue
		}
		letter.Again, letter.Tries = &o.Again, 0
		if k.letters.set(&letter) == nil {
			done.Queued++
			k.begin(&letter)
		}
	}
	for _, number := range o.Events {
		s, there := k.seen.get(number)
		if !there {
			continue
		}
		letter := Letter{Number: number, Broker: o.Broker, App: o.App, AppID: o.AppID, Trigger: o.Trigger, Event: s.Event, Again: &o.Again}
		if err := k.letters.add(&letter); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		done.Queued++
		k.begin(&letter)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(done)
}

// deliver delivers a letter that waits, with the retries of its trigger. If all fail it goes to what takes the trigger's dead letters, with as many; if that fails, or
// there is nothing, it is a dead letter.
func (k *Keeper) deliver(id, appID int64) {
	for {
		verdict, failure, there := k.attemptInTurn(id, appID)
		switch {
		case !there || k.ctx.Err() != nil:
			return
		case verdict == event.Delivered:
			k.arrived(id)
			return
		}
		var pause time.Duration
		goesOn := k.change(id, func(l *Letter) {
			l.Tries++
			l.Failure = failure
			pause = l.Again.Delivery.Pause(l.Tries)
			if verdict == event.Retry && l.Tries <= l.Again.Delivery.Retry {
				return
			}
			if l.Again.Dead == "" {
				l.Again = nil
				return
			}
			l.Again = &Again{To: l.Again.Dead, Delivery: l.Again.Delivery, Failed: &failure}
			l.Tries, pause = 0, 0
		})
		if !goesOn || !k.sleep(pause) {
			return
		}
	}
}

// attemptInTurn makes an attempt when it is the letter's turn. It is read then and not before: many may wait. there is false for one that waits no more.
func (k *Keeper) attemptInTurn(id, appID int64) (verdict event.Verdict, failure event.Failure, there bool) {
	leave := k.perApp.take(k.ctx, appID)
	if leave == nil {
		return 0, failure, false
	}
	defer leave()
	done := k.deliveries.take(k.ctx, k.letters.size(id))
	if done == nil {
		return 0, failure, false
	}
	defer done()
	letter, there, err := k.read(id)
	if !there || err != nil {
		return event.Retry, event.Failure{Data: []byte(fmt.Sprint(err))}, there
	}
	verdict, failure = k.attempt(&letter)
	return verdict, failure, true
}

// arrived notes who has taken the event of a letter, and removes the letter.
func (k *Keeper) arrived(id int64) {
	if l, there := k.letters.brief(id); there && l.Again != nil {
		k.seen.took(l.Number, Took{l.App, l.AppID, l.Trigger, l.Again.Failed != nil})
	}
	k.drop(id)
}

// attempt is one attempt to deliver a letter.
func (k *Keeper) attempt(letter *Letter) (event.Verdict, event.Failure) {
	e, err := event.Parse(letter.Event)
	if err != nil {
		return event.Failed, event.Failure{Destination: letter.Again.To, Data: []byte(err.Error())}
	}
	ctx, cancel := context.WithTimeout(k.ctx, cmp.Or(letter.Again.Delivery.Timeout, 10*time.Minute))
	defer cancel()
	sent := e.ForApp()
	if f := letter.Again.Failed; f != nil {
		sent = sent.Dead(*f)
	}
	a := k.post(ctx, &sent, letter.Again.To)
	verdict := event.Judge(a.status)
	if verdict != event.Delivered {
		return verdict, event.Failure{Destination: letter.Again.To, Status: a.status, Data: start(a.body)}
	}
	if !event.Replies(a.status) || letter.Again.Reply == "" || !event.IsEvent(a.header) {
		return event.Delivered, event.Failure{}
	}
	reply, err := event.FromHTTP(a.header, a.body)
	if err != nil {
		return event.Failed, event.Failure{Destination: letter.Again.To, Status: a.status, Data: []byte("its reply is not an event: " + err.Error())}
	}
	reply = reply.ReplyTo(&e)
	b := k.post(ctx, &reply, letter.Again.Reply)
	return event.Judge(b.status), event.Failure{Destination: letter.Again.Reply, Status: b.status, Data: start(b.body)}
}

// start is as much of an answer as is kept.
func start(body []byte) []byte { return body[:min(len(body), 1024)] }

// answer is what came back; its status is 0 for nothing, and its body says why then.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// post sends an event in binary mode.
func (k *Keeper) post(ctx context.Context, e *event.Event, to string) answer {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(e.Data))
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	e.ToHeader(q.Header)
	q.Header.Set("Prefer", "reply")
	a, err := k.client.Do(q)
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, maxBody))
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	return answer{a.StatusCode, a.Header, body}
}
