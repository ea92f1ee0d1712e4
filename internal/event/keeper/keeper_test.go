package keeper_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

const token = "secret"

type world struct {
	t   *testing.T
	dir string
	k   *keeper.Keeper
	web *httptest.Server
}

func start(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.open()
	t.Cleanup(func() { w.k.Close(); w.web.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	k, err := keeper.New(w.dir, token)
	if err != nil {
		w.t.Fatal(err)
	}
	w.k, w.web = k, httptest.NewServer(k)
}

// restart is what an end of the process and a new one come to: nothing is in memory any more.
func (w *world) restart() {
	w.t.Helper()
	w.k.Close()
	w.web.Close()
	w.open()
}

// do sends a request as gitd does.
func (w *world) do(method, path string, headers http.Header, body []byte) (int, string) {
	w.t.Helper()
	q, err := http.NewRequest(method, w.web.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range headers {
		q.Header[k] = v
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(a.Body)
	return a.StatusCode, string(text)
}

func (w *world) ask(method, path string, body any) string {
	w.t.Helper()
	text, _ := json.Marshal(body)
	status, answer := w.do(method, path, http.Header{keeper.TokenHeader: {token}}, text)
	if status >= 300 {
		w.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

func (w *world) letters(query string) (out []keeper.Letter) {
	w.t.Helper()
	for d := json.NewDecoder(strings.NewReader(w.ask("GET", "/letters?full=1&"+query, nil))); d.More(); {
		var l keeper.Letter
		if err := d.Decode(&l); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// die sends the keeper an event that could not be delivered, as Knative does.
func (w *world) die(id string) (int, string) { w.t.Helper(); return w.dieOf(7, id) }

func (w *world) dieOf(appID int, id string) (int, string) {
	w.t.Helper()
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}, "Content-Type": {"text/plain"},
		"Ce-Knativeerrordest": {"http://shop/"}, "Ce-Knativeerrorcode": {"503"}, "Ce-Knativeerrordata": {"YXdheQ=="}}
	return w.do("POST", "/in/"+keeper.InKey(token)+fmt.Sprintf("/dead/default/shop/%d/orders", appID), h, []byte("data"))
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to that")
		}
	}
}

func TestLetters(t *testing.T) {
	w := start(t)
	for i := range 3 {
		if status, text := w.die(fmt.Sprint("e", i)); status != http.StatusAccepted {
			t.Fatal(status, text)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "4.json.new"), []byte(`{"half`), 0o600); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	w.restart()
	all := w.letters("app=7")
	if len(all) != 3 || all[0].ID <= all[1].ID {
		t.Fatalf("%+v", all)
	}
	l := all[2]
	if e, err := event.Parse(l.Event); err != nil || e.ID != "e0" || string(e.Data) != "data" || len(e.Extensions) != 0 {
		t.Errorf("%s, %v", l.Event, err)
	}
	if l.App != "shop" || l.AppID != 7 || l.Trigger != "orders" || l.Failure.String() != "503: away" || l.Number != l.ID {
		t.Errorf("%+v", l)
	}
	if n := len(w.letters("app=8")); n != 0 {
		t.Errorf("another app has %d letters", n)
	}
	w.ask("DELETE", fmt.Sprint("/letters/", l.ID), nil)
	w.restart()
	if n := len(w.letters("")); n != 2 {
		t.Errorf("%d letters are left", n)
	}
	if status, _ := w.die("e9"); status != http.StatusAccepted {
		t.Fatal(status)
	}
	if newest := w.letters("")[0]; newest.ID <= all[0].ID {
		t.Errorf("the number %d was given out before", newest.ID)
	}
}

// What an app could try: it reaches the keeper, and knows neither the token nor the part of the addresses that only Knative's objects have.
func TestAttack_Keeper(t *testing.T) {
	w := start(t)
	w.die("e1")
	for _, c := range []struct{ method, path string }{
		{"GET", "/letters"}, {"GET", "/seen"}, {"DELETE", "/letters/1"}, {"POST", "/send"}, {"POST", "/again"},
	} {
		for _, h := range []http.Header{nil, {keeper.TokenHeader: {"guess"}}, {"Authorization": {"Bearer " + token}}} {
			if status, text := w.do(c.method, c.path, h, nil); status != http.StatusForbidden || strings.Contains(text, "e1") {
				t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
			}
		}
	}
	for _, path := range []string{"/in/guess/dead/default/shop/7/orders", "/in//seen/default", "/in/" + keeper.InKey("other") + "/seen/default"} {
		if status, _ := w.do("POST", path, http.Header{"Ce-Id": {"x"}}, nil); status != http.StatusNotFound && status != http.StatusMovedPermanently && status != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d", path, status)
		}
	}
	in := "/in/" + keeper.InKey(token) + "/seen/default"
	for _, c := range []struct {
		headers http.Header
		body    []byte
		status  int
	}{
		{nil, []byte("no event"), 400},
		{http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, []byte("[]"), 400},
		{http.Header{"Content-Type": {event.StructuredType}}, []byte(`{"specversion":"1.0"`), 400},
		{http.Header{"Content-Type": {event.StructuredType}}, bytes.Repeat([]byte(" "), 5<<20), 413},
	} {
		if status, text := w.do("POST", in, c.headers, c.body); status != c.status {
			t.Errorf("%v: %d %s", c.headers, status, text)
		}
	}
	if n := len(w.letters("")); n != 1 {
		t.Errorf("%d letters", n)
	}
}

func TestAgain(t *testing.T) {
	w := start(t)
	replies := make(chan string, 10)
	broker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		replies <- r.Header.Get("Ce-Id") + " " + r.Header.Get("Ce-Knativebrokerttl")
	}))
	defer broker.Close()
	var fails atomic.Int32
	fails.Store(2)
	shop := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); r.Header.Get("Ce-Knativeerrorcode") != "" || string(body) != "data" {
			t.Errorf("%v %s", r.Header, body)
		}
		if fails.Add(-1) >= 0 {
			a.WriteHeader(http.StatusBadGateway)
			return
		}
		e := event.Event{ID: "reply", Source: "/shop", Type: "t"}
		e.ToHeader(a.Header())
	}))
	defer shop.Close()
	w.die("e1")
	again := keeper.Again{To: shop.URL, Reply: broker.URL, Delivery: event.Delivery{Retry: 0, Policy: event.Linear, Delay: time.Millisecond}}
	id := w.letters("")[0].ID
	if got := w.ask("POST", "/again", keeper.Order{Letters: []int64{id, 99}, Again: again}); got != "{\"queued\":1}\n" {
		t.Fatal(got)
	}
	eventually(t, func() bool { l := w.letters(""); return len(l) == 1 && l[0].Again == nil && l[0].Failure.Status == 502 })
	again.Delivery.Retry, again.Delivery.Delay = 5, 50*time.Millisecond
	w.ask("POST", "/again", keeper.Order{Letters: []int64{id}, Again: again})
	eventually(t, func() bool { return fails.Load() == 0 })
	w.restart() // between two attempts: it goes on
	eventually(t, func() bool { return len(w.letters("")) == 0 })
	if got := <-replies; got != "reply 255" || len(replies) > 0 {
		t.Errorf("%s, and %d more", got, len(replies))
	}
}

func TestSeen(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	q, _ := http.NewRequestWithContext(ctx, "GET", w.web.URL+"/seen?follow=1", nil)
	q.Header.Set(keeper.TokenHeader, token)
	tail, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Body.Close()
	see := func(id string) {
		if status, text := w.do("POST", "/in/"+keeper.InKey(token)+"/seen/default", http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}, nil); status != 202 {
			t.Fatal(status, text)
		}
	}
	see("a")
	see("a")
	see("b")
	var first, second keeper.Seen
	d := json.NewDecoder(tail.Body)
	if err := d.Decode(&first); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&second); err != nil || second.Number != first.Number+1 {
		t.Fatalf("%+v, %v", second, err)
	}
	w.die("a")
	if l := w.letters(fmt.Sprint("number=", first.Number)); len(l) != 1 {
		t.Errorf("the letter has another number than its event: %+v", w.letters(""))
	}
	if page := w.ask("GET", fmt.Sprintf("/seen?limit=1&before=%d", second.Number), nil); strings.Count(page, "\n") != 1 || !strings.Contains(page, `"id":"a"`) {
		t.Error(page)
	}
}

func BenchmarkLetters(b *testing.B) {
	k, err := keeper.New(b.TempDir(), token)
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		q := httptest.NewRequest("POST", "/in/"+keeper.InKey(token)+"/dead/default/shop/7/orders", nil)
		q.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"x"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}
		k.ServeHTTP(httptest.NewRecorder(), q)
	}
}
