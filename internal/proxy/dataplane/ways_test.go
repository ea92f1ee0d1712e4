package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// way is one of the ways that a request takes through the proxy. What clients and apps see is the same.
type way struct {
	name    string
	netHTTP bool // to the app
	served  bool // net/http's server reads all requests, as it does those over HTTP/2
}

var ways = []way{{"net/http", true, true}, {"net/http and links", false, true}, {"sessions", false, false}}

// front serves a revision whose app is at addr.
func (w way) front(t *testing.T, addr string) string {
	t.Helper()
	r := revisionAt(addr, false, RevisionOptions{HTTP1: true, Timeout: 10 * time.Second})
	return w.serve(t, r)
}

// serve serves a revision.
func (w way) serve(t *testing.T, r *Revision) string {
	t.Helper()
	r.netHTTP = w.netHTTP
	p := route(map[string]Split{name: {{r, 100}}})
	if w.served {
		return serve(t, http.HandlerFunc(p.ServeHTTP))
	}
	return serve(t, p)
}

// say sends bytes, and returns the answers: each its status, its header without the date, its body and trailers; and how the connection ended.
func say(t *testing.T, front, bytes string) []string {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	go func() { _, _ = io.WriteString(c, bytes) }()
	method, _, _ := strings.Cut(bytes, " ")
	b := bufio.NewReader(c)
	var all []string
	for {
		res, err := http.ReadResponse(b, &http.Request{Method: method})
		if err != nil {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				return append(all, "open")
			case errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "reset"):
				return append(all, "closed")
			case strings.HasPrefix(err.Error(), "malformed"): // HTTP/2
				return append(all, "malformed")
			}
			return append(all, err.Error())
		}
		body, err := io.ReadAll(res.Body)
		said := fmt.Sprint(res.Proto, " ", res.Status, lines(res.Header, "Date"), res.TransferEncoding, " ", clip(string(body), 200), lines(res.Trailer))
		if err != nil && res.StatusCode == 400 && strings.Contains(err.Error(), "reset") { // net/http's server closes with what follows unread
			return append(all, said, "closed")
		}
		if err != nil {
			return append(all, said+" cut")
		}
		if res.Header.Get("Date") == "" && res.StatusCode != 400 && res.StatusCode >= 200 {
			said += " undated"
		}
		if res.StatusCode == http.StatusContinue && len(all) > 0 && all[len(all)-1] == said {
			continue // net/http's server sends one of its own where the app's comes while its client begins to read the body
		}
		all = append(all, said)
		if method == "HEAD" {
			method = "GET"
		}
	}
}

// lines are the fields of a header in order, without some.
func lines(h http.Header, without ...string) (all []string) {
	for name, values := range h {
		if !slices.Contains(without, name) {
			all = append(all, fmt.Sprintf("%s=%q", name, values))
		}
	}
	slices.Sort(all)
	return all
}

// notingApp is an app that notes what it gets.
type notingApp struct {
	mu  sync.Mutex
	got []string
}

func (a *notingApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil { // how much comes of a body that is not valid is a matter of time
		return
	}
	a.mu.Lock()
	a.got = append(a.got, fmt.Sprintf("%s %s %s %v %d %q %v", r.Method, r.RequestURI, r.Host, lines(r.Header), r.ContentLength, b, lines(r.Trailer)))
	a.mu.Unlock()
	_, _ = io.WriteString(w, "ok")
}

func (a *notingApp) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

const (
	asks = " HTTP/1.1\r\nHost: " + name + "\r\n"
	last = "GET /last" + asks + "Connection: close\r\n\r\n"
)

// What clients send, with the statuses that they get. Public cases of request smuggling are among them: they end as the second of a pair that the app sees as
// net/http does, or with 400.
var requests = []sent{
	{"pipelined", "GET /1" + asks + "\r\nGET /2" + asks + "\r\nHEAD /3" + asks + "Connection: close\r\n\r\n", "200 200 200"},
	{"a body", "POST /1" + asks + "Content-Length: 5\r\n\r\nhello" + last, "200 200"},
	{"an empty body", "POST /1" + asks + "Content-Length: 0\r\n\r\n" + last, "200 200"},
	{"POST without a length", "POST /1" + asks + "\r\n" + last, "200 200"},
	{"GET with a body", "GET /1" + asks + "Content-Length: 5\r\n\r\nhello" + last, "200 200"},
	{"a large body", "PUT /1" + asks + "Content-Length: 200000\r\n\r\n" + strings.Repeat("0123456789", 20000) + last, "200 200"},
	{"chunks", "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + last, "200 200"},
	{"chunks with extensions", "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n" + last, "200 200"},
	{"trailers", "POST /1" + asks + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n" + last, "200 200"},
	{"CL.TE", "POST /1" + asks + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + last, "200 200"},
	{"TE.CL", "POST /1" + asks + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n13\r\nGET /x HTTP/1.1\r\n\r\n\r\n0\r\n\r\n" + last, "200 200"},
	{"TE.TE other", "POST /1" + asks + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + last, "501"},
	{"TE.TE list", "POST /1" + asks + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + last, "501"},
	{"TE.TE unknown", "POST /1" + asks + "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + last, "501"},
	{"TE.TE space before the colon", "POST /1" + asks + "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + last, "400"},
	{"TE.TE space in front", "POST /1" + asks + "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last, ""},
	{"TE.TE tab", "POST /1" + asks + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + last, "200 200"},
	{"TE.TE vertical tab", "POST /1" + asks + "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + last, "400"},
	{"TE.TE upper case", "POST /1" + asks + "transfer-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n" + last, "200 200"},
	{"TE.TE behind a bare LF", "POST /1" + asks + "Content-Length: 5\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last, ""},
	{"TE.TE name cut", "POST /1" + asks + "Content-Length: 5\r\nTransfer-Encoding\n: chunked\r\n\r\n0\r\n\r\n" + last, "400"},
	{"TE.TE underscore", "POST /1" + asks + "Content-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n" + last, "200 200"},
	{"TE in HTTP/1.0", "POST /1 HTTP/1.0\r\nHost: " + name + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""},
	{"two lengths", "POST /1" + asks + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!" + last, "400"},
	{"one length twice", "POST /1" + asks + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + last, "200 200"},
	{"a list of lengths", "POST /1" + asks + "Content-Length: 5, 5\r\n\r\nhello" + last, "400"},
	{"length +5", "POST /1" + asks + "Content-Length: +5\r\n\r\nhello" + last, "400"},
	{"length -1", "POST /1" + asks + "Content-Length: -1\r\n\r\n" + last, "400"},
	{"length 0x5", "POST /1" + asks + "Content-Length: 0x5\r\n\r\nhello" + last, "400"},
	{"length 05", "POST /1" + asks + "Content-Length: 05\r\n\r\nhello" + last, "200 200"},
	{"length empty", "POST /1" + asks + "Content-Length:\r\n\r\n" + last, "400"},
	{"length with white space", "POST /1" + asks + "Content-Length: \t5 \t\r\n\r\nhello" + last, "200 200"},
	{"length too large", "POST /1" + asks + "Content-Length: 99999999999999999999\r\n\r\nhello" + last, "400"},
	{"length behind NUL", "POST /1" + asks + "Content-Length: 5\x00\r\n\r\nhello" + last, "400"},
	{"a folded line", "GET /1" + asks + "X-A: a\r\n b\r\n\r\n" + last, ""},
	{"bare LF", "GET /1 HTTP/1.1\nHost: " + name + "\n\n" + last, ""},
	{"bare LF between fields", "GET /1" + asks + "X-A: a\nX-B: b\r\n\r\n" + last, ""},
	{"bare CR", "GET /1" + asks + "X-A: a\rX-B: b\r\n\r\n" + last, "400"},
	{"space before a colon", "GET /1" + asks + "X-A : a\r\n\r\n" + last, "400"},
	{"no name", "GET /1" + asks + ": a\r\n\r\n" + last, "400"},
	{"no colon", "GET /1" + asks + "X-A\r\n\r\n" + last, "400"},
	{"NUL in a value", "GET /1" + asks + "X-A: a\x00b\r\n\r\n" + last, "400"},
	{"NUL in a name", "GET /1" + asks + "X\x00A: ab\r\n\r\n" + last, "400"},
	{"DEL in a value", "GET /1" + asks + "X-A: a\x7fb\r\n\r\n" + last, "400"},
	{"high octets in a value", "GET /1" + asks + "X-A: caf\xc3\xa9 \xff\r\n\r\n" + last, "200 200"},
	{"a high octet in a name", "GET /1" + asks + "X-\xc3\xa9: a\r\n\r\n" + last, "400"},
	{"tab in a value", "GET /1" + asks + "X-A: \ta\tb \r\n\r\n" + last, "200 200"},
	{"odd names", "GET /1" + asks + "x-aB_c: 1\r\n!#$%&'*+.^`|~9: 2\r\n\r\n" + last, "200 200"},
	{"chunk: bare LF", "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + last, ""},
	{"chunk: too large", "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n" + last, ""},
	{"chunk: not a number", "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n" + last, ""},
	{"chunk: longer than it says", "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n" + last, ""},
	{"no Host", "GET /1 HTTP/1.1\r\n\r\n" + last, "400"},
	{"two Hosts", "GET /1" + asks + "Host: other.localhost\r\n\r\n" + last, "400"},
	{"a Host with a space", "GET /1 HTTP/1.1\r\nHost: a b\r\n\r\n" + last, "400"},
	{"an empty Host", "GET /1 HTTP/1.1\r\nHost:\r\n\r\n" + last, "404 200"},
	{"Host with a dot and a port", "GET /1 HTTP/1.1\r\nHost: Hello.LOCALHOST.:8080\r\n\r\n" + last, "200 200"},
	{"Host with an odd port", "GET /1 HTTP/1.1\r\nHost: " + name + ":x\r\n\r\n" + last, "200 200"},
	{"another Host", "GET /1 HTTP/1.1\r\nHost: other.localhost\r\n\r\n" + last, "404 200"},
	{"absolute form", "GET http://" + name + "/1?a HTTP/1.1\r\nHost: other.localhost\r\n\r\n" + last, "200 200"},
	{"HTTP/1.0", "GET /1 HTTP/1.0\r\nHost: " + name + "\r\n\r\n" + last, "200"},
	{"HTTP/1.0 kept", "GET /1 HTTP/1.0\r\nHost: " + name + "\r\nConnection: keep-alive\r\n\r\n" + last, "200 200"},
	{"HTTP/1.2", "GET /1 HTTP/1.2\r\nHost: " + name + "\r\n\r\n" + last, ""},
	{"HTTP/2.0", "GET /1 HTTP/2.0\r\nHost: " + name + "\r\n\r\n" + last, "505"},
	{"no version", "GET /1\r\n\r\n" + last, "400"},
	{"two spaces", "GET  /1" + asks + "\r\n" + last, "400"},
	{"a space at the end", "GET /1 HTTP/1.1 \r\nHost: " + name + "\r\n\r\n" + last, "400"},
	{"an empty line first", "\r\nGET /1" + asks + "\r\n" + last, "400"},
	{"no slash", "GET 1" + asks + "\r\n" + last, "400"},
	{"two slashes", "GET //1/..//2" + asks + "\r\n" + last, "200 200"},
	{"a bad escape", "GET /%zz" + asks + "\r\n" + last, "400"},
	{"a bad escape in the query", "GET /1?%zz" + asks + "\r\n" + last, "200 200"},
	{"a tab in the target", "GET /\t1" + asks + "\r\n" + last, "400"},
	{"high octets in the target", "GET /\xc3\xa9" + asks + "\r\n" + last, "200 200"},
	{"OPTIONS *", "OPTIONS *" + asks + "\r\n" + last, "200 200"},
	{"an odd method", "M-SEARCH /1" + asks + "\r\n" + last, "200 200"},
	{"a bad method", "G@T /1" + asks + "\r\n" + last, "400"},
	{"Expect", "POST /1" + asks + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + last, "100 200 200"},
	{"Expect something else", "POST /1" + asks + "Expect: more\r\nContent-Length: 5\r\n\r\nhello" + last, "417"},
	{"hop by hop", "GET /1" + asks + "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n\r\n" + last, "200 200"},
	{"Proxy-Authorization", "GET /1" + asks + "Proxy-Authorization: x\r\nProxy-Authenticate: y\r\n\r\n" + last, "200 200"},
	{"Connection twice", "GET /1" + asks + "Connection: keep-alive\r\nConnection: close\r\n\r\n" + last, "200"},
	{"Connection names Host", "GET /1" + asks + "Connection: Host, Content-Length\r\n\r\n" + last, "200 200"},
	{"Pragma", "GET /1" + asks + "Pragma: no-cache\r\n\r\nGET /2" + asks + "Pragma: no-cache\r\nCache-Control: max-age=0\r\n\r\n" + last, "200 200 200"},
	{"what proxies say", "GET /1" + asks + "X-Forwarded-For: 1.1.1.1\r\nX_real_ip: 2\r\nForwarded: for=3\r\nX-Request-Id: kept\r\n\r\n" + last, "200 200"},
	{"an offer of h2c", "GET /1" + asks + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" + last, "200 200"},
	{"40 KiB of header", "GET /1" + asks + "Cookie: " + strings.Repeat("a=b; ", 8000) + "\r\n\r\n" + last, "200 200"},
	{"500 fields", "GET /1" + asks + strings.Repeat("X-A: b\r\n", 500) + "\r\n" + last, "200 200"},
	{"a long target", "GET /" + strings.Repeat("x", 9000) + asks + "\r\n" + last, "200 200"},
	{"100 KiB of header", "GET /1" + asks + "Cookie: " + strings.Repeat("a=b; ", 20000) + "\r\n\r\n", "431"},
	{"HTTP/2 begins", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", ""},
}

// sent is what a client sends, with the statuses that it gets; "" for any.
type sent struct{ name, bytes, want string }

// Whichever way a request takes, the app and the client see the same.
func TestRequestsByEachWay(t *testing.T) { sameByEachWay(t, requests) }

func sameByEachWay(t *testing.T, all []sent) {
	app := &notingApp{}
	addr := serve(t, app)
	var fronts []string
	for _, w := range ways {
		fronts = append(fronts, w.front(t, addr))
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			var answers, got []string
			for i, front := range fronts {
				a := say(t, front, c.bytes)
				g := app.take()
				if i == 0 {
					answers, got = a, g
					if have := statuses(a); c.want != "" && have != c.want {
						t.Errorf("%s, want %s: %q", have, c.want, a)
					}
					continue
				}
				if !slices.Equal(a, answers) || !slices.Equal(g, got) {
					t.Errorf("%s:\n%q\nthe app got %q\nby %s:\n%q\nthe app got %q", ways[i].name, a, g, ways[0].name, answers, got)
				}
			}
		})
	}
}

func statuses(answers []string) string {
	var all []string
	for _, a := range answers {
		if f := strings.Fields(a); len(f) > 1 && strings.HasPrefix(f[0], "HTTP/") {
			all = append(all, f[1])
		}
	}
	return strings.Join(all, " ")
}

// answer is what an app answers a request with, and the status that the client gets; "" for any.
type answer struct{ name, method, bytes, want string }

// What apps answer with.
var responses = []answer{
	{"plain", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-TYPE: text/plain\r\n\r\nhello", "200"},
	{"a date", "GET", "HTTP/1.1 200 OK\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: 0\r\n\r\n", "200"},
	{"empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200"},
	{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", "200"},
	{"fields twice", "GET", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nVary: x\r\nSet-Cookie: b=2\r\nContent-Length: 1\r\n\r\na", "200"},
	{"an empty type", "GET", "HTTP/1.1 200 OK\r\nContent-Type:\r\nContent-Length: 6\r\n\r\n<html>", "200"},
	{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", "200"},
	{"no chunks", "GET", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + pause + "0\r\n\r\n", "200"},
	{"chunks and trailers", "GET", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n", "200"},
	{"trailers that were not announced", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n", "200"},
	{"trailers of the names of headers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\nCache-Control: x\r\nDate: y\r\nContent-Type: z\r\nTe: a\r\nTrailer: b\r\n\r\n", "200"},
	{"lengths among trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 5\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", "200"},
	{"bad trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum 7\r\n\r\n", "200"},
	{"a bad chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n world\r\n0\r\n\r\n", "200"},
	{"a chunk too long", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", "200"},
	{"chunks and a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200"},
	{"an unknown coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", "502"},
	{"two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "502"},
	{"one length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"a bad length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", "502"},
	{"a body that is longer", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", "200"},
	{"until it closes", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "200"},
	{"closes with a length", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"a body cut", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", ""},
	{"chunks cut", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello", "200"},
	{"a header cut", "GET", "HTTP/1.1 200 OK\r\nContent-Le", "502"},
	{"nothing", "GET", "", "502"},
	{"not HTTP", "GET", "SSH-2.0-x\r\n", "502"},
	{"1 MB of header", "GET", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 95)+"\r\n", 10000) + "Content-Length: 1\r\n\r\na", "502"},
	{"100 KB of header", "GET", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 95)+"\r\n", 1000) + "Content-Length: 1\r\n\r\na", "200"},
	{"10 KB of header", "GET", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 95)+"\r\n", 100) + "Content-Length: 1\r\n\r\na", "200"},
	{"101", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "502"},
	{"early hints", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "103 200"},
	{"continue", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "100 200"},
	{"status 99", "GET", "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok", "502"},
	{"status 999", "GET", "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok", "999"},
	{"status 2000", "GET", "HTTP/1.1 2000 Odd\r\nContent-Length: 2\r\n\r\nok", "502"},
	{"an unknown status", "GET", "HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", "299"},
	{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "204"},
	{"204 with a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nContent-Type: x\r\n\r\nhello", "204"},
	{"304", "GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Type: x\r\nContent-Length: 500\r\n\r\n", "304"},
	{"304 with chunks", "GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "304"},
	{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", "200"},
	{"HEAD without a length", "HEAD", "HTTP/1.1 200 OK\r\n\r\n", "200"},
	{"HEAD with chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200"},
	{"HEAD with a body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"HTTP/1.0 until it closes", "GET", "HTTP/1.0 200 OK\r\n\r\nhello", "200"},
	{"a folded line", "GET", "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", ""},
	{"bare LF", "GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", ""},
	{"NUL", "GET", "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 5\r\n\r\nhello", ""},
	{"space before a colon", "GET", "HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 5\r\n\r\nhello", ""},
	{"hop by hop", "GET", "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: y\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"Keep-Alive", "GET", "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"Pragma", "GET", "HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"Grpc-Status", "GET", "HTTP/1.1 200 OK\r\nGrpc-Status: 13\r\nContent-Length: 5\r\n\r\nhello", "200"},
	{"a large body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("0123456789", 30000), "200"},
	{"large chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("2710\r\n"+strings.Repeat("0123456789", 1000)+"\r\n", 30) + "0\r\n\r\n", "200"},
	{"many small chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("a\r\n0123456789\r\n", 3000) + "0\r\n\r\n", "200"},
	{"an excess of chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 400)+"\r\n0\r\n", 300) + "0\r\n\r\n", "200"},
}

// pause in an answer has the app wait, so that the proxy has sent what is before it: whether net/http does so at once for a stream that has ended already depends on two goroutines.
const pause = "<pause>"

// closingApp answers each connection once, and closes it.
func closingApp(t *testing.T, answer string) string {
	return connectionApp(t, func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 4096)
		if _, err := c.Read(b); err == nil {
			before, after, pauses := strings.Cut(answer, pause)
			_, _ = io.WriteString(c, before)
			if pauses {
				time.Sleep(100 * time.Millisecond)
				_, _ = io.WriteString(c, after)
			}
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}
	})
}

// Whichever way an answer takes, the client sees the same.
func TestResponsesByEachWay(t *testing.T) { sameAnswersByEachWay(t, responses) }

func sameAnswersByEachWay(t *testing.T, all []answer) {
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			addr := closingApp(t, c.bytes)
			var answers []string
			for i, w := range ways {
				front := w.front(t, addr)
				ask := c.method + " /" + asks
				a := say(t, front, ask+"\r\n"+ask+"Connection: close\r\n\r\n")
				if i == 0 {
					answers = a
					if have := statuses(a); c.want != "" && have != c.want+" "+c.want && have != c.want {
						t.Errorf("%s, want %s: %q", have, c.want, a)
					}
					continue
				}
				if !slices.Equal(a, answers) {
					t.Errorf("%s:\n%q\nby %s:\n%q", w.name, a, ways[0].name, answers)
				}
			}
		})
	}
}
