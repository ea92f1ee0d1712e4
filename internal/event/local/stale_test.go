package local

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// held holds the writer until release is called: what is written meanwhile is in one transaction after that.
func held(t *testing.T, p *Platform) (release func()) {
	t.Helper()
	began, end := make(chan struct{}), make(chan struct{})
	go func() {
		_ = p.w.write(never, func(*tx) error { return nil }, func() { close(began); <-end })
	}()
	<-began
	return func() { close(end) }
}

// queuedRows counts deliveries that wait.
func queuedRows(t *testing.T, p *Platform) (n int) {
	t.Helper()
	if err := p.db.QueryRowContext(t.Context(), "SELECT count(*) FROM deliveries WHERE state = 0").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// An event that is on its way while the triggers of an app change, or end, waits for none that is gone: it goes by those that are live when it is written.
func TestSend_TriggersChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *Platform) error
		want   string // trigger; "" for none
	}{
		{"release", func(p *Platform) error {
			next := triggerOn("a")
			next.Name = "next"
			return p.SetTriggers(t.Context(), event.Owner{App: owner.App, ID: owner.ID, Release: 2}, []event.Trigger{next})
		}, "next"},
		{"destroyed", func(p *Platform) error { return p.Forget(t.Context(), owner) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, nil)
			if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
				t.Fatal(err)
			}
			release := held(t, p)
			changed := make(chan error, 1)
			go func() { changed <- c.change(p) }()
			waitFor(t, func() bool { return len(p.w.changes) == 1 })
			sent := make(chan event.Receipt, 1)
			go func() {
				r, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a"}, key)
				if err != nil {
					t.Error(err)
				}
				sent <- r
			}()
			waitFor(t, func() bool { return len(p.w.changes) == 2 })
			release()
			if err := <-changed; err != nil {
				t.Fatal(err)
			}
			r := settled(t, p, (<-sent).Number)
			if c.want == "" && len(r.Deliveries) != 0 || c.want != "" && (len(r.Deliveries) != 1 || r.Deliveries[0].Trigger != c.want || r.Deliveries[0].State != event.StateDelivered) {
				t.Errorf("%+v", r.Deliveries)
			}
			if n := queuedRows(t, p); n != 0 {
				t.Errorf("%d wait for a trigger that is gone", n)
			}
		})
	}
}

// A release that is late does not bring its triggers back over those of a newer one; the same one may set them again.
func TestSetTriggers_Older(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, nil)
	for _, c := range []struct {
		id      int64
		release int
		code    app.Code
	}{{7, 5, ""}, {7, 5, ""}, {7, 4, app.CodeSuperseded}, {7, 6, ""}, {8, 1, ""}, {7, 9, app.CodeSuperseded}} {
		err := p.SetTriggers(t.Context(), event.Owner{App: "hello", ID: c.id, Release: c.release}, []event.Trigger{triggerOn("a")})
		if c.code == "" && err != nil || c.code != "" && app.CodeOf(err) != c.code {
			t.Errorf("v%d of app %d: %v", c.release, c.id, err)
		}
	}
	if of := p.fan.Load().owners["hello"]; of.ID != 8 || of.Release != 1 {
		t.Errorf("%+v", of)
	}
}
