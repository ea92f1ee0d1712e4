package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startUpload begins an upload to the repository hello.
func startUpload(t *testing.T, r *Registry) (user, password, location string) {
	t.Helper()
	user, password = basic(t, r.Credentials("hello"))
	q, _ := http.NewRequest("POST", "http://"+r.Addr().String()+"/v2/hello/blobs/uploads/", nil)
	q.SetBasicAuth(user, password)
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	location = a.Header.Get("Location")
	if a.StatusCode != 202 || !strings.HasPrefix(location, "/v2/") {
		t.Fatalf("%s, %q", a.Status, location)
	}
	return user, password, location
}

func TestNetworkLimits(t *testing.T) {
	t.Run("one blob", limitOneBlob)
	t.Run("one blob in parts", limitOneBlobInParts)
	t.Run("a manifest", limitAManifest)
	t.Run("a full disk", limitAFullDisk)
	t.Run("an upload that stands still does not hold up the others", limitStalledUpload)
	t.Run("connections", limitConnections)
}

func limitOneBlob(t *testing.T) {
	r := openNetwork(t, Options{MaxBlob: 1000})
	user, password, location := startUpload(t, r)
	if got, body := ask(t, r, "PATCH", location, user, password, bytes.NewReader(make([]byte, 5000))); got < 400 {
		t.Errorf("a blob of five times the size: %d %s", got, body)
	}
}

func limitOneBlobInParts(t *testing.T) {
	r := openNetwork(t, Options{MaxBlob: 1000})
	user, password, location := startUpload(t, r)
	stored := func() (n int64) {
		files, _ := filepath.Glob(filepath.Join(r.repositories(), "hello/_uploads/*/data"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	last := 0
	for range 8 {
		q, _ := http.NewRequest("PATCH", "http://"+r.Addr().String()+location, bytes.NewReader(make([]byte, 400)))
		q.SetBasicAuth(user, password)
		a, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		last = a.StatusCode
		if l := a.Header.Get("Location"); l != "" {
			location = l
		}
	}
	if last < 400 || stored() > 1400 {
		t.Errorf("status %d, %d bytes stored", last, stored())
	}
}

func limitAManifest(t *testing.T) {
	r := openNetwork(t, Options{})
	user, password := basic(t, r.Credentials("hello"))
	if got, body := ask(t, r, "PUT", "/v2/hello/manifests/v1", user, password, bytes.NewReader(make([]byte, maxManifest+1))); got != 413 {
		t.Errorf("%d %s", got, body)
	}
}

func limitAFullDisk(t *testing.T) {
	r := openNetwork(t, Options{MinFree: 1 << 60})
	user, password := basic(t, r.Credentials("hello"))
	if got, body := ask(t, r, "POST", "/v2/hello/blobs/uploads/", user, password, nil); got != http.StatusInsufficientStorage {
		t.Errorf("%d %s", got, body)
	}
	if got, body := ask(t, r, "GET", "/v2/", user, password, nil); got != 200 { // reading goes on
		t.Errorf("%d %s", got, body)
	}
}

func limitStalledUpload(t *testing.T) {
	r := openNetwork(t, Options{})
	user, password, location := startUpload(t, r)
	body, feed := io.Pipe()
	q, _ := http.NewRequest("PATCH", "http://"+r.Addr().String()+location, body)
	q.SetBasicAuth(user, password)
	done := make(chan error, 1)
	go func() {
		a, err := http.DefaultTransport.RoundTrip(q)
		if err == nil {
			a.Body.Close()
		}
		done <- err
	}()
	if _, err := feed.Write([]byte("some")); err != nil { // the request is under way
		t.Fatal(err)
	}
	if _, err := r.Collect(context.Background(), keeping(nil), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := r.AddImage(context.Background(), "other", "v1", newImage(t, 1)); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func limitConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: inner, slots: make(chan struct{}, 2), closed: make(chan struct{})}
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a)
	}
	third := make(chan error)
	go func() { _, err := l.Accept(); third <- err }()
	select {
	case err := <-third:
		t.Fatalf("a third was accepted: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	_ = open[0].Close()
	_ = open[0].Close() // twice counts once
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-third; err != nil {
		t.Fatal(err)
	}
	go func() { _, err := l.Accept(); third <- err }()
	_ = l.Close()
	if err := <-third; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSlowAndUnknown(t *testing.T) {
	r := openNetwork(t, Options{})
	s := newServer(hurry(300*time.Millisecond, r.authorise(r.bound(Options{MaxBlob: 1000}, r.guard(r.api)))))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-served })
	post := func(header string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "POST /v2/hello/blobs/uploads/ HTTP/1.1\r\nHost: r\r\nContent-Length: 100\r\n"+header+"\r\nslow"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	began := time.Now()
	answer, err := io.ReadAll(post("")) // until the server closes
	if err != nil || !strings.Contains(string(answer), " 401 ") || !strings.Contains(string(answer), "Connection: close") || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %q, %v", time.Since(began), answer, err)
	}

	// A client with the right to it has the time that a body takes.
	user, password := basic(t, r.Credentials("hello"))
	q, _ := http.NewRequest("GET", "http://r/", nil)
	q.SetBasicAuth(user, password)
	c := post("Authorization: " + q.Header.Get("Authorization") + "\r\n")
	time.Sleep(600 * time.Millisecond)
	if _, err := c.Write(make([]byte, 96)); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 12)
	if _, err := io.ReadFull(c, first); err != nil || string(first) != "HTTP/1.1 202" {
		t.Errorf("%q, %v", first, err)
	}
}

func TestConnectionsOfOneAddress(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: inner, slots: make(chan struct{}, 10), each: 2, closed: make(chan struct{})}
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	dial()
	one := <-accepted
	<-accepted
	third := dial()
	_ = third.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := third.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a third was kept")
	}
	_ = one.Close()
	dial()
	select {
	case <-accepted:
	case <-time.After(time.Minute):
		t.Error("a place that was free again was not given")
	}
}
