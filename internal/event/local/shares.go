package local

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// schemaShares adds whose share of the room an event takes, and to which keys a broker was given.
const schemaShares = `
ALTER TABLE events ADD COLUMN payer TEXT NOT NULL DEFAULT '';
CREATE TABLE shares (
	payer TEXT PRIMARY KEY,
	bytes INTEGER NOT NULL
) STRICT;
ALTER TABLE brokers ADD COLUMN keys TEXT NOT NULL DEFAULT ''; -- with a space between them
`

// shares are the bytes of the events that are kept, by who pays for them.
type shares struct {
	mu sync.Mutex
	// mu guards the following.
	bytes map[string]int64
}

func (s *shares) add(payer string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes[payer] += n; s.bytes[payer] <= 0 {
		delete(s.bytes, payer)
	}
}

func (s *shares) set(bytes map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes = bytes
}

func (s *shares) of(payer string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes[payer]
}

// pay notes that a payer has so many bytes more, or fewer.
func (t *tx) pay(payer string, n int64) error {
	if payer == "" {
		return nil
	}
	_, err := t.exec("INSERT INTO shares (payer, bytes) VALUES (?, ?) ON CONFLICT (payer) DO UPDATE SET bytes = bytes + excluded.bytes", payer, n)
	return err
}

// recount reads how many bytes are kept.
func (p *Platform) recount(ctx context.Context) error {
	var bytes int64
	var text string
	return p.w.write(ctx, func(t *tx) error {
		if err := t.row("SELECT coalesce(sum(bytes), 0) FROM brokers", nil, &bytes); err != nil {
			return err
		}
		return t.row("SELECT json_group_object(payer, bytes) FROM shares WHERE bytes > 0", nil, &text)
	}, func() {
		all := map[string]int64{}
		if err := json.Unmarshal([]byte(text), &all); err != nil { // it cannot: it is SQLite's own
			p.o.Log("events: the shares of the room cannot be read: %v", err)
		}
		p.bytes.Store(bytes)
		p.shares.set(all)
	})
}

// payer is whose share of the room a sender takes; "" for what is not bounded so.
func (p *Platform) payer(from event.Sender) string {
	if p.o.Rights == nil {
		return ""
	}
	return p.o.Rights.Payer(from)
}

// fits returns an error where there is no room for size bytes more of a payer. Each may have as much as is free: one alone half of the room, two of them a third each. So
// none can fill it for the others, whatever becomes of its events.
func (p *Platform) fits(payer string, size int64) error {
	free := p.o.MaxBytes - p.bytes.Load() - size
	if free < 0 {
		return app.Errorf(app.CodeUnavailable, "send it again later; what waits and what is dead: gitd events dead APP, gitd brokers", "the broker is full: it keeps %s of events, and no more", app.Size(p.o.MaxBytes))
	}
	if payer == "" {
		return nil
	}
	if has := p.shares.of(payer); has+size > free {
		return app.Errorf(app.CodeUnavailable, "send it again later; what waits and what is dead: gitd events dead APP",
			"the broker is full for the apps of %s: their events take %s, and may take as much as is free, which is %s", payer, app.Size(has), app.Size(free+size))
	}
	return nil
}

// room makes room for an event, or says that there is none.
func (p *Platform) room(ctx context.Context, payer string, size int64) error {
	if p.fits(payer, size) == nil {
		return nil
	}
	if err := p.evict(ctx, payer, size); err != nil {
		return err
	}
	return p.fits(payer, size)
}

// given is to which keys brokers were given; brokers that are for every app are not in it.
type given struct {
	mu sync.RWMutex
	// mu guards the following.
	keys map[string][]string
}

func (g *given) set(broker string, keys []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(keys) == 0 {
		delete(g.keys, broker)
	} else {
		g.keys[broker] = keys
	}
}

func (g *given) to(broker string) []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.keys[broker]
}

func (p *Platform) loadGiven(ctx context.Context) error {
	p.given.keys = map[string][]string{}
	rows, err := p.db.QueryContext(ctx, "SELECT name, keys FROM brokers WHERE keys <> ''")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, keys string
		if err := rows.Scan(&name, &keys); err != nil {
			return err
		}
		p.given.set(name, strings.Fields(keys))
	}
	return rows.Err()
}

// ShareBroker implements event.Platform.
func (p *Platform) ShareBroker(ctx context.Context, name string, keys []string) error {
	if name == event.DefaultBroker {
		return event.DefaultIsShared()
	}
	return p.w.write(ctx, func(t *tx) error {
		n, err := t.count("UPDATE brokers SET keys = ? WHERE name = ?", strings.Join(keys, " "), name)
		if err == nil && n == 0 {
			err = event.NoBroker(name)
		}
		return err
	}, func() { p.given.set(name, keys) })
}

// sends fails where a sender may not send to a broker.
func (p *Platform) sends(from event.Sender, broker string) error {
	if p.o.Rights == nil || p.o.Rights.Sends(from, p.given.to(broker)) {
		return nil
	}
	return event.NotShared(broker)
}

// gets says whether the app of a trigger gets what a sender sends.
func (p *Platform) gets(t *trigger, broker string, from event.Sender) bool {
	return p.o.Rights == nil || p.o.Rights.Gets(t.ID, from, p.given.to(broker))
}
