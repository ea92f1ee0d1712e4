package event_test

import (
	"testing"

	"github.com/gitd-io/gitd/internal/event"
)

// What a broker refuses of another sender, or takes from its event, is what does not pass the filter for brokers that ask no one.
func TestNotOwn(t *testing.T) {
	for _, c := range []struct {
		source, kind string
		extension    string
		own          bool
	}{
		{"/shop", "order.created", "", false},
		{"/shop", "dev.cdevents.service.deployed.0.2.0", "", false},
		{"/apps/shop", "order.created", "", false},
		{"/apps/shop", "dev.cdevents.service.deployed.0.2.0", "", true},
		{"/apps/shop", "io.gitd.app.created", "", true},
		{"/apps/shop/schedules/tick", event.ScheduleType, "", true},
		{"/apps/shop/webhooks/github", "com.github.push", "", true},
		{"/shop", "com.github.push", event.WebhookAttribute, true},
		{"/shop", "order.created", event.AppAttribute, true},
		{"/shop", "order.created", event.ReleaseAttribute, true},
		{"/shop", "order.created", event.OutcomeAttribute, true},
		{"/shop", "order.created", "region", false},
	} {
		e := event.Event{ID: "1", Source: c.source, Type: c.kind}
		if c.extension != "" {
			e = e.With(c.extension, "x")
		}
		other := event.Sender{Kind: event.FromApp, Name: "other", ID: 2}
		_, stays := e.From(other).Extensions[c.extension]
		if refused := e.CheckSender(other) != nil || c.extension != "" && !stays; refused != c.own {
			t.Errorf("%+v: refused %v", c, refused)
		}
		if own := e.SaysOwn(); own != c.own {
			t.Errorf("%+v: own %v", c, own)
		}
	}
}
