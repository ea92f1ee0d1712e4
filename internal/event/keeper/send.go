package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// Bounds of what is on its way to a broker.
const (
	answerTime = 2 * time.Second  // that gitd waits for what the broker says
	brokerTime = 15 * time.Minute // that a broker may take: one with a channel in memory answers when all triggers have had the event, or have given it up
	firstPause = time.Second      // before it is sent again, doubled each time
	lastPause  = 5 * time.Minute
)

// posting is whether an event that gitd sends was accepted or refused: whichever comes first.
type posting struct {
	mu       sync.Mutex
	accepted bool
	refused  chan Sent // nil where no sender waits
}

// accept says whether it was not refused before.
func (p *posting) accept() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.refused) > 0 {
		return false
	}
	p.accepted = true
	return true
}

// refuse tells the sender that waits, and says whether one did.
func (p *posting) refuse(s Sent) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted || p.refused == nil {
		return false
	}
	p.refused <- s
	return true
}

// send takes an event of gitd's for a broker. It is on the disk before it is sent, and stays there until the broker has taken it. One that is among the last
// events is not sent again: brokers of Knative do not know an event again.
func (k *Keeper) send(w http.ResponseWriter, r *http.Request) {
	var m Mail
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2*maxBody)).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, err := event.Parse(m.Event)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := func(s Sent) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s)
	}
	if n := k.seen.number(m.Broker, &e); n != 0 {
		answer(Sent{Number: n, Duplicate: true})
		return
	}
	k.seen.from(m.Broker, &e, m.From)
	letter := Letter{Broker: m.Broker, From: m.From, Event: m.Event, Out: true, Again: &Again{To: m.To}}
	switch err := k.letters.add(&letter); {
	case errors.Is(err, errFull):
		w.Header().Set("Retry-After", fullWait)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p := &posting{refused: make(chan Sent, 1)}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	come := make(chan int64, 1)
	go func() { come <- k.seen.wait(ctx, m.Broker, &e) }()
	go k.carry(letter.ID, p)
	var number int64
	select {
	case refused := <-p.refused:
		answer(refused)
		return
	case number = <-come:
	}
	if !p.accept() {
		answer(<-p.refused)
		return
	}
	answer(Sent{Number: number})
}

// forGood says whether a broker that answers so is not asked again: it does not exist any more, or it does not take this event.
func forGood(status int) bool {
	return status == http.StatusNotFound || event.Judge(status) == event.Failed
}

// carry sends an event to its broker until the broker has taken it, or has refused it for good: it is a dead letter then.
func (k *Keeper) carry(id int64, p *posting) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		to, a, there := k.postInTurn(id)
		switch {
		case !there:
			return
		case a.status/100 == 2:
			k.drop(id)
			return
		case k.ctx.Err() != nil:
			return
		case a.status/100 == 4 && p.refuse(Sent{Refused: a.status, Detail: string(start(a.body))}):
			k.drop(id)
			return
		}
		goesOn := k.change(id, func(l *Letter) {
			l.Tries++
			l.Failure = event.Failure{Destination: to, Status: a.status, Data: start(a.body)}
			if forGood(a.status) {
				l.Again = nil
			}
		})
		if !goesOn || !k.sleep(pause) {
			return
		}
	}
}

// postInTurn sends an event to its broker once, when it is its turn. It is read then and not before: many may wait. there is false for one that waits no more.
func (k *Keeper) postInTurn(id int64) (to string, a answer, there bool) {
	done := k.mail.take(k.ctx, k.letters.size(id))
	if done == nil {
		return "", a, false
	}
	defer done()
	letter, there, err := k.read(id)
	if !there || err != nil {
		return "", answer{body: []byte(fmt.Sprint(err))}, there
	}
	to = letter.Again.To
	e, err := event.Parse(letter.Event)
	if err != nil {
		return to, answer{status: http.StatusBadRequest, body: []byte(err.Error())}, true
	}
	letter = Letter{} // the event alone is held while the broker takes it
	ctx, cancel := context.WithTimeout(k.ctx, brokerTime)
	defer cancel()
	return to, k.post(ctx, &e, to), true
}
