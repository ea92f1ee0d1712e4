package keeper

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/gitd-io/gitd/internal/event"
)

// takeOwn takes an event of gitd's own, for those who take it. It is on the disk for each of them when it answers. One that is among the last events is not taken again.
func (k *Keeper) takeOwn(w http.ResponseWriter, r *http.Request) {
	var o Own
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2*maxBody)).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, err := event.Parse(o.Event)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s, err := k.keepOwn(&o, &e)
	if err != nil {
		notKept(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s)
}

// keepOwn notes an event, and writes a letter for each who takes it: for all of them, or for none.
func (k *Keeper) keepOwn(o *Own, e *event.Event) (Sent, error) {
	k.owns.Lock()
	defer k.owns.Unlock()
	number, there, err := k.seen.addOwn(o.Broker, e, o.From, o.Event)
	if err != nil || there {
		return Sent{Number: number, Duplicate: there}, err
	}
	var added []Letter
	var without []string
	for i := range o.Takers {
		t := &o.Takers[i]
		l := Letter{Number: number, Broker: o.Broker, From: o.From, App: t.App, AppID: t.AppID, Trigger: t.Trigger, Event: o.Event, Again: &t.Again}
		err := k.letters.add(&l)
		if errors.Is(err, errShare) && (o.Lenient || t.AppID != o.From.ID) {
			without = append(without, t.App)
			continue
		}
		if err != nil {
			for _, l := range added {
				_ = k.letters.remove(l.ID) // one that stays is delivered twice, when gitd sends the event again
			}
			k.seen.forget(number)
			return Sent{}, err
		}
		l.Event = nil
		added = append(added, l)
	}
	for i := range added {
		k.begin(&added[i])
	}
	return Sent{Number: number, Without: without}, nil
}
