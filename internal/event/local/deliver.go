package local

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// delivery is one that is due.
type delivery struct {
	number, event int64
	key           queueKey
	app           string
	attempts      int  // before this one, of its phase
	dead          bool // it goes to what takes dead letters
	failed        event.Failure
	size          int64 // of the event
	hold          *hold
}

// outcome is how an attempt ended, and what follows.
type outcome struct {
	at      time.Time
	took    time.Duration
	failure event.Failure // of one that did not succeed: the destination is always there
	note    string        // of one that did
	verdict event.Verdict
	reason  string  // of one that is dead without an attempt
	reply   *accept // an event that the app answered with
}

// deliver makes one attempt, and notes how it ended. It reports whether the app took the event.
func (q *queue) deliver(d *delivery) bool {
	p := q.p
	t := p.fan.Load().keys[d.key]
	if t == nil { // it went when the event came
		p.finish(d, nil, outcome{at: p.clock.now(), verdict: event.Failed, reason: "its trigger is gone"})
		return true
	}
	if p.away(d.key) {
		return false
	}
	e, err := p.event(d.event)
	if err != nil {
		if p.ctx.Err() == nil {
			p.o.Log("events: e%d cannot be read: %v", d.event, err)
			time.Sleep(time.Second)
		}
		return false
	}
	o := p.attempt(t, d, e)
	if o.verdict != event.Delivered && (p.ctx.Err() != nil || !d.dead && p.away(d.key)) { // it was cut short: the next process tries again, or this one when the app is back
		return false
	}
	if o.reply != nil {
		if err := p.room(p.ctx, o.reply.payer, o.reply.size()); err != nil {
			o.reply, o.verdict = nil, event.Retry
			o.failure.Data = []byte("its answer is an event, and " + err.Error())
		}
	}
	p.finish(d, t, o)
	p.count(t, &o)
	return o.verdict == event.Delivered
}

// count counts an attempt.
func (p *Platform) count(t *trigger, o *outcome) {
	result := "failed"
	switch o.verdict {
	case event.Delivered:
		result = "delivered"
	case event.Retry:
		result = "retry"
	}
	p.o.Metrics.Deliveries.Inc(t.App, result)
	p.o.Metrics.Duration.Observe(o.took, result)
}

// attempt sends an event to where it goes.
func (p *Platform) attempt(t *trigger, d *delivery, e *event.Event) (o outcome) {
	out := e.ForApp()
	to := event.Sink{App: t.App, Path: t.Path}
	if d.dead {
		out = out.Dead(d.failed)
		var err error
		if to, err = event.ParseSink(t.Delivery.DeadLetter); err != nil {
			return outcome{at: p.clock.now(), verdict: event.Failed, failure: event.Failure{Destination: t.Delivery.DeadLetter, Data: []byte(err.Error())}}
		}
	}
	o.at = p.clock.now()
	began := time.Now()
	a := p.request(to, &out, t.Delivery.Timeout, d.hold)
	o.took = time.Since(began)
	o.failure = event.Failure{Destination: p.destination(to), Status: a.status, Data: a.told()}
	o.verdict = event.Judge(a.status)
	if o.verdict == event.Delivered && event.Replies(a.status) && event.IsEvent(a.header) && !d.dead {
		o.reply, o.note = p.reply(a, e, t)
	}
	return o
}

// reply is the event that an app answered with. What is none is noted, and so is one whose time to live is used up: the app has taken the event either way.
func (p *Platform) reply(a *answer, to *event.Event, t *trigger) (*accept, string) {
	if a.cut {
		return nil, fmt.Sprintf("the answer was left out: it is longer than %s", app.Size(event.MaxSize))
	}
	e, err := event.FromHTTP(a.header, a.body)
	if err != nil {
		return nil, "the answer was left out: " + err.Error()
	}
	r, err := p.accept(t.Broker, e.ReplyTo(to), event.Sender{Kind: event.FromReply, Name: t.App, ID: t.ID})
	if err != nil {
		return nil, "the answer was left out: " + err.Error()
	}
	return r, ""
}

// destination is the URL of a sink.
func (p *Platform) destination(to event.Sink) string {
	if to.URL != "" {
		return to.URL
	}
	return "http://" + to.App + "." + p.o.Domain + to.Path
}

// request posts an event, and returns the answer.
func (p *Platform) request(to event.Sink, e *event.Event, limit time.Duration, h *hold) *answer {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	if limit == 0 && to.URL != "" {
		limit = outsideTime
	}
	if limit > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errLate)
		defer cancel()
	}
	a := &answer{header: http.Header{}, end: cancel, hold: h}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, p.destination(to), newBody(e.Data))
	if err != nil {
		a.failed = err.Error()
		return a
	}
	q.ContentLength = int64(len(e.Data))
	e.ToHeader(q.Header)
	q.Header.Set("Prefer", "reply")
	q.Header.Set("User-Agent", "gitd-events")
	if to.URL != "" {
		a.ask(p.outside, q)
	} else {
		q.RequestURI, q.RemoteAddr = q.URL.RequestURI(), "127.0.0.1:0"
		a.serve(p.o.Proxy, q)
	}
	if context.Cause(ctx) == errLate { //nolint:errorlint // it is that very value
		a.status, a.failed = 0, "no answer within "+limit.String()
	}
	return a
}
