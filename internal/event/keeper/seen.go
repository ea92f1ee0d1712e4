package keeper

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// key is what an event is known by.
type key struct {
	broker, source, id string
	own                bool // it is gitd's own
}

// seen are the last events, bounded by number and bytes.
type seen struct {
	numbers *numbers

	mu    sync.Mutex
	all   []Seen // by number
	keys  []key  // of the same
	known map[key]int64
	who   map[key]event.Sender // of events that gitd has sent, and that have not come in yet
	bytes int
	more  chan struct{} // closed when there is another one
}

func newSeen(n *numbers) *seen {
	return &seen{numbers: n, known: map[key]int64{}, who: map[key]event.Sender{}, more: make(chan struct{})}
}

// add notes an event that a broker has taken.
func (s *seen) add(broker string, e *event.Event, text json.RawMessage) error {
	k := key{broker: broker, source: e.Source, id: e.ID}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[k] != 0 { // delivered to us twice, or sent twice
		return nil
	}
	_, err := s.put(k, s.who[k], text)
	delete(s.who, k)
	return err
}

// addOwn notes an event of gitd's own. It returns its number, and whether it was there.
func (s *seen) addOwn(broker string, e *event.Event, from event.Sender, text json.RawMessage) (number int64, there bool, err error) {
	k := key{broker, e.Source, e.ID, true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.known[k]; n != 0 {
		return n, true, nil
	}
	number, err = s.put(k, from, text)
	return number, false, err
}

// put adds an event; the caller holds the lock.
func (s *seen) put(k key, from event.Sender, text json.RawMessage) (int64, error) {
	n, err := s.numbers.next()
	if err != nil {
		return 0, err
	}
	s.all, s.keys, s.known[k] = append(s.all, Seen{Number: n, Broker: k.broker, From: from, Time: time.Now().UTC(), Event: text}), append(s.keys, k), n
	s.bytes += len(text)
	drop := 0
	for len(s.all)-drop > maxSeen || s.bytes > maxSeenAll && drop < len(s.all)-1 {
		s.bytes -= len(s.all[drop].Event)
		delete(s.known, s.keys[drop])
		s.all[drop], s.keys[drop] = Seen{}, key{}
		drop++
	}
	s.all, s.keys = s.all[drop:], s.keys[drop:]
	close(s.more)
	s.more = make(chan struct{})
	return n, nil
}

// forget removes an event that could not be kept.
func (s *seen) forget(number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, there := s.find(number)
	if !there {
		return
	}
	s.bytes -= len(s.all[i].Event)
	delete(s.known, s.keys[i])
	s.all, s.keys = slices.Delete(slices.Clone(s.all), i, i+1), slices.Delete(slices.Clone(s.keys), i, i+1)
}

// took notes who has taken an event.
func (s *seen) took(number int64, t Took) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, there := s.find(number); there && !slices.Contains(s.all[i].Took, t) {
		s.all[i].Took = append(s.all[i].Took, t)
	}
}

// from notes who sends an event. Where too many do not come in, that is forgotten of all.
func (s *seen) from(broker string, e *event.Event, who event.Sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.who) >= maxSeen {
		clear(s.who)
	}
	s.who[key{broker: broker, source: e.Source, id: e.ID}] = who
}

// number is that of an event; 0 where it was not seen.
func (s *seen) number(broker string, e *event.Event) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key{broker: broker, source: e.Source, id: e.ID}]
}

// comes is how long an event takes from a broker to the keeper, at most.
const comes = 2 * time.Second

// wait waits for an event that a broker has taken, and returns its number; 0 where it does not come.
func (s *seen) wait(ctx context.Context, broker string, e *event.Event) int64 {
	ctx, cancel := context.WithTimeout(ctx, comes)
	defer cancel()
	for {
		s.mu.Lock()
		n, more := s.known[key{broker: broker, source: e.Source, id: e.ID}], s.more
		s.mu.Unlock()
		if n != 0 {
			return n
		}
		select {
		case <-more:
		case <-ctx.Done():
			return 0
		}
	}
}

func (s *seen) get(number int64) (Seen, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, there := s.find(number)
	if !there {
		return Seen{}, false
	}
	return s.all[i], true
}

// last is the newest number.
func (s *seen) last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	return s.all[len(s.all)-1].Number
}

func (s *seen) find(number int64) (int, bool) {
	return slices.BinarySearchFunc(s.all, number, func(e Seen, n int64) int { return int(e.Number - n) })
}

// before returns events with a lower number, the newest first.
func (s *seen) before(number int64, limit int) []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := s.find(number)
	out := slices.Clone(s.all[max(0, i-limit):i])
	slices.Reverse(out)
	return out
}

// after returns the events after a number, the oldest first, and what is closed when there are more.
func (s *seen) after(number int64) ([]Seen, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := s.find(number + 1)
	return slices.Clone(s.all[i:]), s.more
}
