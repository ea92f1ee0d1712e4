package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

// TestHold: requests wait until the shares are told by the one who knows the token, and reach the revisions as they were sent.
func TestHold(t *testing.T) {
	got := make(chan string, 100)
	revision := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		h := q.Header
		got <- strings.Join([]string{q.Method, q.Host, q.RequestURI, string(body), h.Get("X-Forwarded-For"), h.Get("Knative-Serving-Namespace"), h.Get("Knative-Serving-Revision"), h.Get(stream.HoldHeader)}, " ")
		w.Header()["Content-Type"] = nil
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "<html>")
	}))
	defer revision.Close()
	h := newHolder(stream.Holding{Service: "shop", Namespace: "apps", Seconds: 60}, "secret")
	h.address = func(stream.Share) string { return revision.Listener.Addr().String() }
	holding := httptest.NewServer(h)
	defer holding.Close()
	ask := func(method, path, body, token string) *http.Response {
		t.Helper()
		q, err := http.NewRequest(method, holding.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Host = "shop.example.com"
		q.Header.Set("X-Forwarded-For", "1.2.3.4")
		if token != "" {
			q.Header.Set(stream.HoldHeader, token)
		}
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return nil
		}
		res.Body.Close()
		return res
	}
	var wait sync.WaitGroup
	wait.Go(func() { // nor does a wrong token end it
		if res := ask("POST", "/a%2Fb?x=1;y=%zz", `[{"revision":"evil","percent":100}]`, "guess"); res != nil && (res.StatusCode != http.StatusTeapot || len(res.Header["Content-Type"]) > 0) {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
	time.Sleep(100 * time.Millisecond)
	if len(got) != 0 {
		t.Fatal("it did not wait")
	}
	if res := ask("POST", "/", `[{"revision":"shop-v2","percent":100}]`, "secret"); res.StatusCode != http.StatusNoContent {
		t.Errorf("the end: %d", res.StatusCode)
	}
	wait.Wait()
	want := `POST shop.example.com /a%2Fb?x=1;y=%zz [{"revision":"evil","percent":100}] 1.2.3.4 apps shop-v2 guess`
	if is := <-got; is != want {
		t.Errorf("the revision got\n%s, not\n%s", is, want)
	}
}

// TestHold_Shares: what cannot be divided is refused, and requests go by the newest shares.
func TestHold_Shares(t *testing.T) {
	h := newHolder(stream.Holding{Service: "shop", Seconds: 60}, "secret")
	tell := func(shares string) int {
		q := httptest.NewRequest("POST", "/", strings.NewReader(shares))
		q.Header.Set(stream.HoldHeader, "secret")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		return w.Code
	}
	for _, bad := range []string{"", "{", "[]", `[{"revision":"shop-v1","percent":0}]`} {
		if code := tell(bad); code != http.StatusBadRequest {
			t.Errorf("shares %q: %d", bad, code)
		}
	}
	for _, good := range []string{`[{"revision":"shop-v1","percent":100}]`, `[{"revision":"shop-v2","percent":10},{"revision":"shop-v3","percent":90}]`} {
		if code := tell(good); code != http.StatusNoContent {
			t.Errorf("shares %q: %d", good, code)
		}
	}
	drawn := map[string]int{}
	for range 1000 {
		drawn[h.draw().Revision]++
	}
	if drawn["shop-v2"] < 40 || drawn["shop-v2"] > 200 || drawn["shop-v3"] < 700 {
		t.Errorf("drawn: %v", drawn)
	}
}

// TestHold_HTTP2: what came over HTTP/2 goes on over it.
func TestHold_HTTP2(t *testing.T) {
	both := &http.Protocols{}
	both.SetUnencryptedHTTP2(true)
	revision := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.WriteString(w, q.Proto+" "+q.Host+q.RequestURI)
	}))
	revision.Config.Protocols = both
	revision.Start()
	defer revision.Close()
	h := newHolder(stream.Holding{Service: "shop", Namespace: "apps", Seconds: 60}, "secret")
	h.address = func(stream.Share) string { return revision.Listener.Addr().String() }
	h.shares = []stream.Share{{Revision: "shop-v1", Percent: 100, HTTP2: true}}
	close(h.ended)
	holding := httptest.NewUnstartedServer(h)
	holding.Config.Protocols = both
	holding.Start()
	defer holding.Close()
	q, _ := http.NewRequest("GET", holding.URL+"/a%2Fb?x=1;y=%zz", nil)
	q.Host = "shop.example.com"
	res, err := (&http.Transport{Protocols: both}).RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "HTTP/2.0 shop.example.com/a%2Fb?x=1;y=%zz" {
		t.Errorf("%d %q, %v", res.StatusCode, b, err)
	}
}

// TestHold_InVain: who has waited as long as was said, or when the container ends, gets the page; a call of gRPC gets its status.
func TestHold_InVain(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		status     int
		want       string
		ends       bool
	}{
		{"time", "", 503, "text/plain; charset=utf-8", false},
		{"the container ends", "", 503, "text/plain; charset=utf-8", true},
		{"gRPC", "application/grpc", 200, "application/grpc", false},
	} {
		how := stream.Holding{Service: "shop", Seconds: 1}
		if c.ends {
			how.Seconds = 600
		}
		h := newHolder(how, "secret")
		if c.ends {
			time.AfterFunc(100*time.Millisecond, func() { close(h.stop) })
		}
		q := httptest.NewRequest("POST", "/", nil)
		q.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		if w.Code != c.status || w.Header().Get("Content-Type") != c.want {
			t.Errorf("%s: %d %v %q", c.name, w.Code, w.Header(), w.Body)
		}
		if c.kind != "" && w.Header().Get("Grpc-Status") != "14" {
			t.Errorf("%s: %v", c.name, w.Header())
		}
	}
}
