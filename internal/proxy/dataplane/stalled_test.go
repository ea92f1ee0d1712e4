package dataplane

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// Attack: clients ask for a large answer and take nothing of it. Each held an instance's place for ever. One that takes it slowly gets all of it.
func TestAttack_NothingIsRead(t *testing.T) {
	const size = 48 << 20 // more than the buffers of two connections hold
	var under, broken atomic.Int64
	p, plain, secure := secured(t, Secure{}, Limits{Stalled: 2 * time.Second}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		under.Add(1)
		defer under.Add(-1)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for range size >> 16 {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				broken.Add(1)
				return
			}
		}
	}))
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: selfSigned(t, name)}})
	ask := func(c net.Conn) {
		t.Helper()
		t.Cleanup(func() { _ = c.Close() })
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name); err != nil {
			t.Fatal(err)
		}
	}
	slow, err := net.Dial("tcp", plain)
	if err != nil {
		t.Fatal(err)
	}
	ask(slow)
	for range 4 {
		c, err := net.Dial("tcp", plain)
		if err != nil {
			t.Fatal(err)
		}
		ask(c)
		s, err := tls.Dial("tcp", secure, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		ask(s)
	}
	client := tlsClient(t, secure, true, &tls.Config{InsecureSkipVerify: true})
	client.Timeout = 0
	for range 2 { // two streams of one connection, which answers pings
		r, err := client.Get("https://" + name + "/")
		if err != nil || r.ProtoMajor != 2 {
			t.Fatal(r, err)
		}
		t.Cleanup(func() { _ = r.Body.Close() })
	}
	got := int64(0)
	for end := time.Now().Add(time.Minute); got < size; time.Sleep(100 * time.Millisecond) {
		n, err := io.CopyN(io.Discard, slow, 1<<20)
		if got += n; err != nil || time.Now().After(end) {
			t.Fatalf("the slow one has got %d bytes: %v", got, err)
		}
	}
	apptest.Eventually(t, time.Minute, "the end of those that take nothing", func() bool { return under.Load() == 0 && broken.Load() == 10 })
}
