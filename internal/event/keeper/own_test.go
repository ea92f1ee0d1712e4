package keeper_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// listener is an app that notes what it gets.
type listener struct {
	*httptest.Server
	mu  sync.Mutex
	got []http.Header
}

func listen(t *testing.T, status int) *listener {
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.got = append(l.got, r.Header)
		l.mu.Unlock()
		w.WriteHeader(status)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) all() []http.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got
}

func own(id string, takers ...keeper.Taker) keeper.Own {
	return keeper.Own{Broker: "default", From: event.Sender{Kind: event.FromSource, Name: "gitd", ID: 7}, Takers: takers,
		Event: fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/apps/shop","type":"io.gitd.app.created","knativebrokerttl":"9"}`, id)}
}

func (w *world) own(o keeper.Own) (s keeper.Sent) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.ask("POST", "/own", o)), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// An event of gitd's own is delivered to those who take it, with their retries; what cannot be delivered goes to what takes dead letters, or is one.
func TestOwn(t *testing.T) {
	w := start(t)
	shop, bad, sink := listen(t, 202), listen(t, 400), listen(t, 200)
	taker := func(name string, id int64, to, dead string) keeper.Taker {
		return keeper.Taker{App: name, AppID: id, Trigger: "told", Again: keeper.Again{To: to, Dead: dead, Delivery: event.Delivery{Retry: 1}}}
	}
	sent := w.own(own("1", taker("shop", 7, shop.URL, ""), taker("bad", 8, bad.URL, ""), taker("worse", 9, bad.URL, sink.URL), taker("worst", 10, bad.URL, bad.URL)))
	if again := w.own(own("1", taker("shop", 7, shop.URL, ""))); sent.Number == 0 || !again.Duplicate || again.Number != sent.Number {
		t.Errorf("%+v, again %+v", sent, again)
	}
	eventually(t, func() bool { return len(shop.all()) == 1 && len(sink.all()) == 1 && len(bad.all()) == 4 })
	if h := shop.all()[0]; h.Get("ce-id") != "1" || h.Get("ce-knativebrokerttl") != "" || h.Get("prefer") != "reply" {
		t.Errorf("%v", h)
	}
	if h := sink.all()[0]; h.Get("ce-knativeerrordest") != bad.URL || h.Get("ce-knativeerrorcode") != "400" || h.Get("ce-type") != "io.gitd.app.created" {
		t.Errorf("%v", h)
	}
	var s keeper.Seen
	eventually(t, func() bool {
		s = keeper.Seen{}
		_ = json.Unmarshal([]byte(w.ask("GET", "/seen", nil)), &s)
		return len(s.Took) == 2
	})
	if s.Number != sent.Number || s.From.Name != "gitd" || !strings.Contains(fmt.Sprint(s.Took), "{shop 7 told false}") || !strings.Contains(fmt.Sprint(s.Took), "{worse 9 told true}") {
		t.Errorf("%+v", s)
	}
	dead := w.letters("")
	if len(dead) != 2 || dead[0].Again != nil || dead[0].App != "worst" || dead[0].Number != sent.Number || dead[1].App != "bad" || dead[1].Failure.Status != 400 {
		t.Errorf("%+v", dead)
	}
	// A broker's event with the same source and id is another one: an app cannot keep gitd's own from being told by sending it first.
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"2"}, "Ce-Source": {"/apps/shop"}, "Ce-Type": {"io.gitd.app.created"}}
	if status, text := w.do("POST", "/in/"+keeper.InKey(token)+"/seen/default", h, nil); status != 202 {
		t.Fatal(status, text)
	}
	if sent := w.own(own("2", taker("shop", 7, shop.URL, ""))); sent.Duplicate {
		t.Errorf("%+v", sent)
	}
	eventually(t, func() bool { return len(shop.all()) == 2 })
}

// What waits when the keeper ends is delivered after its next start.
func TestOwn_Restart(t *testing.T) {
	w := start(t)
	away := httptest.NewServer(http.NotFoundHandler())
	to := away.Listener.Addr().String()
	away.Close()
	w.own(own("1", keeper.Taker{App: "shop", AppID: 7, Trigger: "told", Again: keeper.Again{To: "http://" + to, Delivery: event.Delivery{Retry: 100, Delay: 10 * time.Millisecond, Policy: event.Linear}}}))
	w.restart()
	if l := w.letters("app=7"); len(l) != 1 || l[0].Again == nil {
		t.Errorf("%+v", l)
	}
}

// The requests that come to the door are answered by gitd, wherever it is, and refused while it is away.
func TestDoor(t *testing.T) {
	w := start(t)
	to, _ := url.Parse(w.web.URL)
	relay := httptest.NewServer(keeper.Relay(to))
	defer relay.Close()
	stop := w.answer()
	q, _ := http.NewRequest("POST", relay.URL+"/hooks/shop/github?x=%2F", strings.NewReader("body"))
	q.Header.Set("X-Signature", "s")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(a.Body)
	if a.StatusCode != 418 || a.Header.Get("Gitd-Event") != "e1" || string(text) != "POST /hooks/shop/github?x=%2F s body" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, text)
	}
	stop2 := w.answer() // another process of this gitd: the one before takes no more
	stop()
	for range 3 {
		if a, err := http.Get(relay.URL + "/"); err != nil || a.StatusCode != 418 {
			t.Fatal(a, err)
		}
	}
	stop2()
	a, err = http.Get(relay.URL + "/")
	if err != nil || a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("without gitd: %+v, %v", a, err)
	}
	if status, _ := w.do("GET", "/asked", nil, nil); status != 403 {
		t.Errorf("requests are told to others: %d", status)
	}
}

// answer answers the requests at the door as gitd does, until stop is called. It returns when the keeper knows of it.
func (w *world) answer() (stop func()) {
	w.t.Helper()
	q, _ := http.NewRequest("GET", w.web.URL+"/asked", nil)
	q.Header.Set(keeper.TokenHeader, token)
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		w.t.Fatal(err)
	}
	d := json.NewDecoder(a.Body)
	if err := d.Decode(&keeper.Asked{}); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for {
			var r keeper.Asked
			if d.Decode(&r) != nil {
				return
			}
			if r.ID != 0 {
				w.ask("POST", fmt.Sprint("/asked/", r.ID), keeper.Answered{Status: 418, Header: http.Header{"Gitd-Event": {"e1"}}, Body: fmt.Appendf(nil, "%s %s %s %s", r.Method, r.URI, r.Header.Get("X-Signature"), r.Body)})
			}
		}
	}()
	return func() { a.Body.Close() }
}
