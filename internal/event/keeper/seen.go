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
type key struct{ broker, source, id string }

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

func (s *seen) add(broker string, e *event.Event, text json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{broker, e.Source, e.ID}
	if s.known[k] != 0 { // delivered to us twice, or sent twice
		return nil
	}
	n, err := s.numbers.next()
	if err != nil {
		return err
	}
	s.all, s.keys, s.known[k] = append(s.all, Seen{n, broker, s.who[k], time.Now().UTC(), text}), append(s.keys, k), n
	delete(s.who, k)
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
	return nil
}

// from notes who sends an event. Where too many do not come in, that is forgotten of all.
func (s *seen) from(broker string, e *event.Event, who event.Sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.who) >= maxSeen {
		clear(s.who)
	}
	s.who[key{broker, e.Source, e.ID}] = who
}

// number is that of an event; 0 where it was not seen.
func (s *seen) number(broker string, e *event.Event) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key{broker, e.Source, e.ID}]
}

// comes is how long an event takes from a broker to the keeper, at most.
const comes = 2 * time.Second

// wait waits for an event that a broker has taken, and returns its number; 0 where it does not come.
func (s *seen) wait(ctx context.Context, broker string, e *event.Event) int64 {
	ctx, cancel := context.WithTimeout(ctx, comes)
	defer cancel()
	for {
		s.mu.Lock()
		n, more := s.known[key{broker, e.Source, e.ID}], s.more
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
