package local

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/event"
)

// replies answers each event with one of the type b.
func replies(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": r.Header.Get("Ce-Id") + "-r", "Ce-Source": "r", "Ce-Type": "b"} {
		h.Set(name, v)
	}
}

// An answer to a broker that is gone is left out, and the delivery says so: it is not tried for ever.
func TestReply_NoBroker(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), replies, nil)
	if err := p.CreateBroker(t.Context(), "team", ""); err != nil {
		t.Fatal(err)
	}
	of := triggerOn("a")
	of.Broker = "team"
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{of}); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	p.o.Proxy = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-gone
		replies(w, r)
	})
	r, err := p.Send(t.Context(), "team", event.Event{ID: "1", Source: "s", Type: "a"}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.w.write(t.Context(), func(t *tx) error {
		_, err := t.exec("DELETE FROM brokers WHERE name = 'team'") // as one that is deleted between an answer and its end
		return err
	}, nil); err != nil {
		t.Fatal(err)
	}
	close(gone)
	d := settled(t, p, r.Number).Deliveries[0]
	if d.State != event.StateDelivered || !strings.Contains(d.Log[0].Error, `the broker "team" does not exist`) {
		t.Errorf("%+v", d)
	}
}
