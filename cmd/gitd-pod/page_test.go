package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	address := answering(t, func(c net.Conn) { answerPage(c, "shop", false) })
	for _, c := range []struct{ method, accept, kind, body string }{
		{"GET", "*/*", "text/plain; charset=utf-8", "the app shop is being maintained"},
		{"GET", "text/html", "text/html; charset=utf-8", "<p>shop is being maintained."},
		{"HEAD", "*/*", "text/plain; charset=utf-8", ""},
		{"POST", "", "text/plain; charset=utf-8", "the app shop is being maintained"},
	} {
		q, _ := http.NewRequest(c.method, "http://"+address+"/any", strings.NewReader(strings.Repeat("x", 100<<10)))
		q.Header.Set("Accept", c.accept)
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("Content-Type") != c.kind || !strings.Contains(string(b), c.body) {
			t.Errorf("%+v: %d %v %q", c, res.StatusCode, res.Header, b)
		}
	}
}

// answering listens, and has each connection answered until the test ends. It returns the address.
func answering(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	return l.Addr().String()
}
