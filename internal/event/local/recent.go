package local

import (
	"encoding/json"
	"sync"

	"github.com/gitd-io/gitd/internal/event"
)

// recentBytes is how much of the events that came last is kept in memory, so that a delivery need not read them.
const recentBytes = 16 << 20

// recent are the events that came last, by number.
type recent struct {
	most int

	mu sync.Mutex
	// mu guards the following.
	events map[int64]*event.Event
	order  []int64
	bytes  int
}

func (r *recent) add(number int64, e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events == nil {
		r.events = map[int64]*event.Event{}
	}
	r.events[number] = e
	r.order = append(r.order, number)
	r.bytes += e.Size() + overhead
	for r.bytes > r.most {
		first := r.order[0]
		r.order = r.order[1:]
		r.bytes -= r.events[first].Size() + overhead
		delete(r.events, first)
	}
}

func (r *recent) get(number int64) *event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[number]
}

// event returns an event.
func (p *Platform) event(number int64) (*event.Event, error) {
	if e := p.recent.get(number); e != nil {
		return e, nil
	}
	var e event.Event
	var others string
	err := p.db.QueryRowContext(p.ctx, "SELECT source, id, type, attributes, data FROM events WHERE number = ?", number).Scan(&e.Source, &e.ID, &e.Type, &others, &e.Data)
	if err != nil {
		return nil, err
	}
	return &e, setOthers(&e, others)
}

// setOthers sets the attributes that otherAttributes has returned.
func setOthers(e *event.Event, text string) error {
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	for name, v := range m {
		if err := e.Set(name, v); err != nil {
			return err
		}
	}
	return nil
}
