package local

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/ingress"
)

// Bounds on brokers and tokens.
const (
	maxBrokers = 1000
	maxTokens  = 100 // of one broker
)

// Brokers implements event.Platform.
func (p *Platform) Brokers(ctx context.Context) ([]event.Broker, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT name, key, created, events, bytes, keys,
		(SELECT count(*) FROM deliveries d JOIN events e ON e.number = d.event WHERE d.state = 0 AND e.broker = name),
		(SELECT count(*) FROM deliveries d JOIN events e ON e.number = d.event WHERE d.state = 3 AND e.broker = name)
		FROM brokers ORDER BY name <> 'default', name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []event.Broker{}
	for rows.Next() {
		var b event.Broker
		var created int64
		var keys string
		if err := rows.Scan(&b.Name, &b.By, &created, &b.Events, &b.Bytes, &keys, &b.Queued, &b.Dead); err != nil {
			return nil, err
		}
		b.Created, b.Keys = fromMilli(created), strings.Fields(keys)
		list = append(list, b)
	}
	return list, rows.Err()
}

// CreateBroker implements event.Platform.
func (p *Platform) CreateBroker(ctx context.Context, name, by string) error {
	if err := event.CheckName(name); err != nil {
		return app.Errorf(app.CodeInvalidName, "choose another name", "a broker cannot have this name: %v", err)
	}
	return p.w.write(ctx, func(t *tx) error {
		var n int
		if err := t.row("SELECT count(*) FROM brokers", nil, &n); err != nil {
			return err
		}
		if n >= maxBrokers {
			return app.Errorf(app.CodeLimitExceeded, "delete one that is not needed: gitd brokers delete NAME", "there are %d brokers, as many as there may be", n)
		}
		n, err := t.count("INSERT INTO brokers (name, key, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", name, by, p.clock.now().UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return app.Errorf(app.CodeExists, "choose another name", "there is a broker %q already", name)
		}
		return nil
	}, nil)
}

// DeleteBroker implements event.Platform.
func (p *Platform) DeleteBroker(ctx context.Context, name string) error {
	if name == event.DefaultBroker {
		return app.Errorf(app.CodeInvalidInput, "nothing to do", "the default broker is always there")
	}
	var left int
	err := p.w.write(ctx, func(t *tx) error {
		if err := t.row("SELECT count(*) FROM deliveries d JOIN events e ON e.number = d.event WHERE e.broker = ? AND d.state IN (0, 3)", []any{name}, &left); err != nil {
			return err
		}
		if left > 0 { // nothing is lost by a slip of the pen
			return app.Errorf(app.CodeInvalidInput, "wait until they are delivered, or retry them: gitd events retry APP; or let them go: gitd events discard APP", "the broker %q has %d deliveries that wait or are dead", name, left)
		}
		var apps string
		if err := t.row("SELECT coalesce(group_concat(DISTINCT app), '') FROM owners, json_each(triggers) t WHERE t.type = 'object' AND t.value ->> '$.broker' = ?", []any{name}, &apps); err != nil {
			return err
		}
		if apps != "" {
			return event.BrokerInUse(name, strings.Split(apps, ","))
		}
		n, err := t.count("DELETE FROM brokers WHERE name = ?", name)
		if err != nil {
			return err
		}
		if n == 0 {
			return event.NoBroker(name)
		}
		if _, err := t.exec(`UPDATE shares SET bytes = shares.bytes - gone.bytes FROM (SELECT payer, sum(size) AS bytes FROM events WHERE broker = ? GROUP BY payer) AS gone
			WHERE gone.payer = shares.payer`, name); err != nil {
			return err
		}
		_, err = t.exec("DELETE FROM events WHERE broker = ?", name)
		return err
	}, func() { p.given.set(name, nil) })
	if err == nil {
		err = p.recount(ctx)
	}
	return err
}

// CreateToken implements event.Platform.
func (p *Platform) CreateToken(ctx context.Context, broker, name, by string) (string, error) {
	broker = cmp.Or(broker, event.DefaultBroker)
	if err := event.CheckName(name); err != nil {
		return "", app.Errorf(app.CodeInvalidName, "choose another name", "a token cannot have this name: %v", err)
	}
	token := ingress.NewToken()
	hash := ingress.Hash(token)
	return token, p.w.write(ctx, func(t *tx) error {
		var brokers, tokens int
		if err := t.row("SELECT (SELECT count(*) FROM brokers WHERE name = ?1), (SELECT count(*) FROM tokens WHERE broker = ?1)", []any{broker}, &brokers, &tokens); err != nil {
			return err
		}
		switch {
		case brokers == 0:
			return event.NoBroker(broker)
		case tokens >= maxTokens:
			return app.Errorf(app.CodeLimitExceeded, "revoke one that is not needed: gitd events token revoke NAME", "the broker %q has %d tokens, as many as it may", broker, tokens)
		}
		n, err := t.count("INSERT INTO tokens (broker, name, hash, key, created) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", broker, name, hash[:], by, p.clock.now().UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return app.Errorf(app.CodeExists, "choose another name, or revoke that one first: gitd events token revoke "+name, "the broker %q has a token %q already", broker, name)
		}
		return nil
	}, nil)
}

// Tokens implements event.Platform.
func (p *Platform) Tokens(ctx context.Context, broker string) ([]event.Token, error) {
	broker = cmp.Or(broker, event.DefaultBroker)
	rows, err := p.db.QueryContext(ctx, "SELECT name, key, created, used FROM tokens WHERE broker = ? ORDER BY name", broker)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []event.Token{}
	for rows.Next() {
		var k event.Token
		var created, used int64
		if err := rows.Scan(&k.Name, &k.By, &created, &used); err != nil {
			return nil, err
		}
		k.Created, k.Used = fromMilli(created), fromMilli(used)
		list = append(list, k)
	}
	return list, rows.Err()
}

// RevokeToken implements event.Platform.
func (p *Platform) RevokeToken(ctx context.Context, broker, name string) error {
	broker = cmp.Or(broker, event.DefaultBroker)
	return p.w.write(ctx, func(t *tx) error {
		n, err := t.count("DELETE FROM tokens WHERE broker = ? AND name = ?", broker, name)
		if err != nil {
			return err
		}
		if n == 0 {
			return app.Errorf(app.CodeNotFound, "see the tokens: gitd events token list", "the broker %q has no token %q", broker, app.Clip(name, 60))
		}
		return nil
	}, nil)
}

// tokenUse is how often the use of a token is noted.
const tokenUse = time.Minute

// holder returns the broker and the name of a token; "" for one that is not known.
func (p *Platform) holder(ctx context.Context, token string) (broker, name string, err error) {
	hash := ingress.Hash(token)
	var used int64
	err = p.db.QueryRowContext(ctx, "SELECT broker, name, used FROM tokens WHERE hash = ?", hash[:]).Scan(&broker, &name, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", nil
	}
	if now := p.clock.now(); err == nil && now.Sub(fromMilli(used)) > tokenUse {
		_ = p.w.write(ctx, func(t *tx) error { // a request is not refused for that
			_, err := t.exec("UPDATE tokens SET used = ? WHERE hash = ?", now.UnixMilli(), hash[:])
			return err
		}, nil)
	}
	return broker, name, err
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
