package dataplane

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// connectionApp is an app that does as it likes with each connection, and closes it. It returns its address.
func connectionApp(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go do(c)
		}
	}()
	return l.Addr().String()
}

// rawApp is an app that keeps what it is sent, byte for byte, and answers with the given bytes. It returns its address, and the requests.
func rawApp(t *testing.T, answer string) (string, <-chan string) {
	t.Helper()
	got := make(chan string, 100)
	return connectionApp(t, func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			head := ""
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				head += line
			}
			got <- head
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	}), got
}

// ask sends bytes to front, and returns what comes back until the connection is closed.
func ask(t *testing.T, front, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return string(b)
}

// What a client asks for reaches the app as it was sent.
func TestRequestTarget(t *testing.T) {
	addr, got := rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
	for sent, want := range map[string]string{
		"/line?a=1;b=2":           "",
		"/line?q=100%&x=1":        "",
		"/line?z=1&a=2&bad=%zz":   "",
		"/?b=2&a=1&b=1":           "",
		"/a?":                     "",
		"/a??b?c":                 "",
		"/a+b?c+d=e%20f":          "",
		"/a?x=\"<>\\^`{|}":        "",
		"/a?%":                    "",
		"/a%2Fb%2f%41":            "",
		"/a%00b":                  "",
		"/a//b///":                "",
		"//a//b":                  "",
		"/./a/../b/..":            "",
		"/%2e%2e/%2E":             "",
		"/a|b{c}\"^`<>":           "",
		"/caf\xc3\xa9?q=\xe9\xff": "",
		"/a;v=1/b;w":              "",
		"/a:b@c,d!$&'()*":         "",
		"/a#b?c#d":                "",
		"/" + strings.Repeat("x", 20000) + "?" + strings.Repeat("y=%&", 5000): "",
		"*":                                    "",
		"http://" + name + "/a?b=1;c":          "/a?b=1;c",
		"http://" + name:                       "/",
		"http://" + name + "?a=%":              "/?a=%",
		"http://" + name + "/http://x/?u=a://": "/http://x/?u=a://",
	} {
		if want == "" {
			want = sent
		}
		method := "GET"
		if sent == "*" {
			method = "OPTIONS"
		}
		answer := ask(t, front, method+" "+sent+" HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Errorf("%.60s: %.200s", sent, answer)
			continue
		}
		line, _, _ := strings.Cut(<-got, "\r\n")
		if line != method+" "+want+" HTTP/1.1" {
			t.Errorf("%.60s became %.100s", sent, line)
		}
	}
}

// TestAttack_SpacesInTargets: HTTP/2 carries a space in a path, where HTTP/1 ends the request target at it. A client hopes that the app,
// asked in HTTP/1, sees another request than the proxy.
func TestAttack_SpacesInTargets(t *testing.T) {
	addr, got := rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
	c := client(t, front, true)
	for sent, want := range map[string]string{"/a HTTP/1.1": "/a%20HTTP/1.1", "/a?b c": "/a?b%20c", "/a?b HTTP/1.1": "/a?b%20HTTP/1.1"} {
		q, _ := http.NewRequest(http.MethodGet, "http://"+name, nil)
		q.URL.Opaque = sent
		res, err := c.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == http.StatusBadRequest {
			continue // refused as well
		}
		if line, _, _ := strings.Cut(<-got, "\r\n"); line != "GET "+want+" HTTP/1.1" {
			t.Errorf("%q reached the app as %q", sent, line)
		}
	}
}

// An offer to go on in HTTP/2, which curl --http2 makes with each request, concerns the client's connection alone.
func TestUpgradeOffer(t *testing.T) {
	for _, h2c := range []bool{false, true} {
		addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%q %q %q", r.Header["Upgrade"], r.Header["Connection"], r.Header["Http2-Settings"])
		}))
		front := serve(t, route(map[string]Split{name: {{revisionAt(addr, h2c, RevisionOptions{}), 100}}}))
		got := ask(t, front, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "[] [] []") {
			t.Errorf("h2c %t: %q", h2c, got)
		}
	}
}

// Nothing is added to what a client sends but X-Forwarded-For, -Host and -Proto, and nothing is taken away but what concerns its connection.
func TestRequestHeaders(t *testing.T) {
	addr, got := rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
	ask(t, front, "GET / HTTP/1.1\r\nHost: "+name+":8080\r\nX-Empty:\r\nX-Twice: a\r\nX-Twice: b, c\r\nCookie: a=1; b=\"2\"\r\nTE: trailers\r\n"+
		"X_Custom: kept\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nConnection: close, X-Hop\r\n\r\n")
	want := []string{"GET / HTTP/1.1", "Host: " + name + ":8080", "Cookie: a=1; b=\"2\"", "Te: trailers", "X-Empty: ", "X-Twice: a", "X-Twice: b, c", "X_custom: kept",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: " + name + ":8080", "X-Forwarded-Proto: http"}
	have := strings.Split(strings.TrimSuffix(<-got, "\r\n\r\n"), "\r\n")
	slices.Sort(want[1:])
	slices.Sort(have[1:])
	if !slices.Equal(have, want) {
		t.Errorf("the app got\n%q\nwant\n%q", have, want)
	}
}

// A response is what the app sent: no type is guessed, nothing is unpacked.
func TestResponseHeaders(t *testing.T) {
	for _, c := range []struct{ name, answer, want string }{
		{"no type", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\nConnection: close\r\n\r\nhello"},
		{"HTML without a type", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 6\r\n\r\n<html>", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nDate: x\r\nConnection: close\r\n\r\n<html>"},
		{"chunks without a type", "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"gzip", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\x00\x00",
			"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nDate: x\r\nConnection: close\r\n\r\n\x1f\x8b\x08\x00\x00"},
		{"an empty type", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type:\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: \r\nDate: x\r\nConnection: close\r\n\r\nhello"},
		{"early hints", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1\r\n\r\na",
			"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\nDate: x\r\nConnection: close\r\n\r\na"},
		{"an error without a type", "HTTP/1.1 500 No\r\nDate: x\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nDate: x\r\nConnection: close\r\n\r\nno"},
		{"trailers", "HTTP/1.1 200 OK\r\nDate: x\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n",
			"HTTP/1.1 200 OK\r\nDate: x\r\nTrailer: X-Sum\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n"},
		{"no content", "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", "HTTP/1.1 204 No Content\r\nDate: x\r\nConnection: close\r\n\r\n"},
	} {
		addr, _ := rawApp(t, c.answer)
		front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
		if got := ask(t, front, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
	addr, _ := rawApp(t, "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 12345\r\n\r\n")
	front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
	want := "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nDate: x\r\nConnection: close\r\n\r\n"
	if got := ask(t, front, "HEAD / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); got != want {
		t.Errorf("HEAD: got %q", got)
	}
}

// The body of a request that asks first is sent when the app says so, and never where it refuses.
func TestExpectContinue(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
	for path, want := range map[string]string{"/": "HTTP/1.1 100 Continue\r\n", "/refuse": "HTTP/1.1 413 "} {
		c, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", path, name)
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("%s: %q, %v", path, line, err)
		}
		if path == "/refuse" {
			continue
		}
		if line, _ = r.ReadString('\n'); line != "\r\n" {
			t.Fatalf("%q", line)
		}
		fmt.Fprint(c, "body")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(b) != "body" {
			t.Errorf("%d %q", res.StatusCode, b)
		}
	}
}

// An app answers while the client still sends, over HTTP/1 too.
func TestBothWaysAtOnce(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(b[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	}))
	c, err := net.Dial("tcp", serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}})))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n", name)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	echo := bufio.NewReader(res.Body)
	for i := range 20 {
		word := fmt.Sprintf("word %02d\n", i)
		fmt.Fprintf(c, "%x\r\n%s\r\n", len(word), word)
		if got, err := echo.ReadString('\n'); got != word {
			t.Fatalf("%q, %v", got, err)
		}
	}
	fmt.Fprint(c, "0\r\n\r\n")
	if rest, err := io.ReadAll(echo); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestAttack_OddStatus: an app answers with a status that cannot be passed on. It hopes that each request makes the server panic, and write
// two kilobytes of its stack into the log. The client is told that the app's response is not valid.
func TestAttack_OddStatus(t *testing.T) {
	for _, status := range []string{"000", "099", "100 Continue\r\n\r\nHTTP/1.1 020"} {
		addr, _ := rawApp(t, "HTTP/1.1 "+status+" Odd\r\nContent-Length: 2\r\n\r\nok")
		front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
		if got := ask(t, front, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "HTTP/1.1 502 ") {
			t.Errorf("%s: %q", status, got)
		}
	}
}

// TestAttack_Trailers: a client sends the headers that the proxy would remove as trailers, behind the body, where some frameworks look as
// well: another address, or another user. They must not reach the app.
func TestAttack_Trailers(t *testing.T) {
	got := make(chan http.Header, 1)
	addr := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}))
	front := serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}))
	ask(t, front, "POST / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\nTrailer: X-Forwarded-For, X_Real_IP, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"1\r\na\r\n0\r\nX-Forwarded-For: 1.1.1.1\r\nX_Real_IP: 1.1.1.1\r\nX-Sum: 7\r\n\r\n")
	sent := <-got
	for name, values := range sent {
		if yes, _ := aboutClient(name); yes && len(values) > 0 {
			t.Errorf("the app got the trailer %s: %q", name, values)
		}
	}
	if sent.Get("X-Sum") != "7" {
		t.Errorf("the app got %q", sent)
	}
}
