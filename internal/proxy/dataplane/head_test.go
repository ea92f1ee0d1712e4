package dataplane

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
)

// What our parser takes for a plain head of an answer, net/http takes as well, and reads the same in it.
func FuzzResponseHead(f *testing.F) {
	for _, c := range responses {
		f.Add([]byte(c.bytes[:min(len(c.bytes), 2000)]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := end(b, 0)
		if n == 0 {
			return
		}
		var h head
		if !h.parseResponse(bytes.Clone(b[:n])) {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			t.Fatalf("net/http does not take it: %v", err)
		}
		if res.StatusCode != h.status {
			t.Errorf("status %d, net/http reads %d", h.status, res.StatusCode)
		}
		if !h.bodyless(false) {
			if chunked := len(res.TransferEncoding) > 0; chunked != h.chunked || !chunked && res.ContentLength != h.length {
				t.Errorf("length %d, chunks %t; net/http reads %d, %t", h.length, h.chunked, res.ContentLength, chunked)
			}
		}
		if !res.Close && h.close {
			t.Error("it closes; net/http does not")
		}
		ours := http.Header{}
		for _, f := range h.fields {
			if string(f.name) != "Transfer-Encoding" {
				ours.Add(string(f.name), string(f.value))
			}
		}
		if have, want := lines(ours, "Connection"), lines(res.Header, "Connection"); !slices.Equal(have, want) {
			t.Errorf("%q, net/http reads %q", have, want)
		}
	})
}

// What our parser takes for a plain head of a request, net/http takes as well, and reads the same in it.
func FuzzRequestHead(f *testing.F) {
	for _, c := range requests {
		f.Add([]byte(c.bytes[:min(len(c.bytes), 2000)]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := end(b, 0)
		if n == 0 {
			return
		}
		var r request
		if !r.parse(bytes.Clone(b[:n])) {
			return
		}
		q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatalf("net/http does not take it: %v", err)
		}
		if q.Method != string(r.method) || q.RequestURI != string(r.target) || q.Host != string(r.host) || q.Proto != "HTTP/1.1" {
			t.Errorf("%s %s %s; net/http reads %s %s %s %s", r.method, r.target, r.host, q.Method, q.RequestURI, q.Host, q.Proto)
		}
		if q.ContentLength != max(r.length, 0) || len(q.TransferEncoding) > 0 || q.Close != r.close {
			t.Errorf("length %d, close %t; net/http reads %d, %q, %t", r.length, r.close, q.ContentLength, q.TransferEncoding, q.Close)
		}
		ours := http.Header{}
		for _, f := range r.fields {
			ours.Add(string(f.name), string(f.value))
		}
		if have, want := lines(ours, "Connection", "Host"), lines(q.Header, "Connection"); !slices.Equal(have, want) {
			t.Errorf("%q, net/http reads %q", have, want)
		}
	})
}

// What our reader of chunks takes, net/http's takes as well, with the same data.
func FuzzChunks(f *testing.F) {
	for _, c := range []string{"5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", "5 \r\nhello\r\n00\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "\n", "1\r\na\r\n\n", "g\r\n", "2\r\nhello\r\n0\r\n\r\n", "fffffffffffffff\r\n", "1\r\na\r\n1;\r\nb\r\n0\r\n\r\n"} {
		f.Add([]byte(c), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		l := &link{Conn: piecewise{from: bytes.NewReader(b), n: max(1, step%100)}, buffer: make([]byte, linkBuffer)}
		body := l.flow(&head{chunked: true, length: -1}, false, l.fill)
		var ours []byte
		var err error
		for err == nil {
			var part []byte
			part, err = body.next()
			ours = append(ours, part...)
		}
		if !errors.Is(err, io.EOF) {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(bytes.NewReader(b))))
		if err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("%q; net/http reads %q, %v", ours, theirs, err)
		}
	})
}

// piecewise is a connection on which at most n octets come at once.
type piecewise struct {
	net.Conn
	from *bytes.Reader
	n    int
}

func (p piecewise) Read(b []byte) (int, error) { return p.from.Read(b[:min(len(b), p.n)]) }

func TestPlainTargets(t *testing.T) {
	for target, want := range map[string]bool{"/": true, "/a?b=%zz": true, "/%41": true, "/%4": false, "/%zz": false, "//a": false, "a": false, "*": false, "": false, "/a b": false,
		"/\x7f": false, "/\xc3": false, "/a#b": true, "/" + strings.Repeat("x", 10000): true} {
		if got := plainTarget(target); got != want {
			t.Errorf("%.20q: %t", target, got)
		}
	}
	for h, want := range map[string]bool{"a.b": true, "a.b:80": true, "1.2.3.4": true, "a_b": true, "a.": true, "": false, ":80": false, "a:": false, "a:b": false, "a:123456": false, "[::1]": false, "a b": false,
		"a/b": false, "a@b": false, "a:1:2": false} {
		if got := plainHost(h); got != want {
			t.Errorf("%q: %t", h, got)
		}
	}
}
