package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A request that is answered before all of it was read is read on: the proxy, which fails at sending where the connection ends, may not see the answer.
func TestOwn_AnswersEarly(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"nothing is read": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) },
		"it is too large": func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
				http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := newOwn(map[string]http.Handler{"brokers.test": h})
			if err != nil {
				t.Fatal(err)
			}
			defer o.server.Close()
			c, err := net.Dial("unix", o.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			const size = 16 << 20
			if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nGitd-Host: brokers.test\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)); err != nil {
				t.Errorf("sending: %v", err)
			}
			a, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			if a.StatusCode < 400 {
				t.Error(a.Status)
			}
		})
	}
}
