package dataplane

import (
	"strings"
	"testing"
)

// TestAttack_Smuggling: a client spells the length of its request so that, it hopes, the proxy and the app take it for two different ones: what the proxy passes on as a body, the app takes for
// another request, which no rule of the proxy has seen, and whose answer the next client gets. Each is refused, or read in one way by all.
func TestAttack_Smuggling(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: " + name + "\r\n\r\n"
	var all []sent
	for spelling, want := range map[string]string{
		"Content-Length: 5 5": "400", "Content-Length: 5\t5": "400", "Content-Length: \"5\"": "400", "Content-Length: 5;": "400", "Content-Length: 5,": "400", "Content-Length: ,5": "400",
		"Content-Length: 5.0": "400", "Content-Length: 5e0": "400", "Content-Length: 0b101": "400", "Content-Length: ٥": "400", "Content-Length: 5\r\nContent-Length:": "400",
		"Content-Length: 5\r\ncontent-length: 05": "400", "Content-Length : 5": "400", "Content-Length\t: 5": "400", "\tContent-Length: 5": "", " Content-Length: 5": "", "Content-Length\x00: 5": "400",
		"Content-Length:\x0b5": "400", "Content-Length: 5\x0c": "400", "Content-Length: 5\u00a0": "400", "Content-Length:\r\n 5": "", "Content-Length: 18446744073709551621": "400", "Content-Length: 9223372036854775813": "400",
		"Content-Length: 5\r\nTransfer-Encoding: identity": "501", "Content-Length: 5\r\nTransfer-Encoding:": "501", "Content-Length: 5\r\nTransfer-Encoding: chunked, chunked": "501",
		"Content-Length: 5\r\nTransfer-Encoding: chunked;q=1": "501", "Content-Length: 5\r\nTransfer-Encoding: \"chunked\"": "501", "Content-Length: 5\r\nTransfer-Encoding: ,chunked": "501",
		"Content-Length: 5\r\nTransfer-Encoding: chunked,": "501", "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked": "501", "Content-Length: 5\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked": "501",
		"Content-Length: 5\r\nTransfer-Encoding: chunked\x0b": "400", "Content-Length: 5\r\nTransfer-Encoding: chunked\u00a0": "501", "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked": "",
		"Content-Length: 5\r\nTransfer-\r\nEncoding: chunked": "400", "Content-Length: 5\r\nX: \rTransfer-Encoding: chunked": "400", "Content-Length: 5\r\nX: \x00\r\nTransfer-Encoding: chunked": "400",
		"Content-Length: 5\r\nTransfer-Encoding: chun\u212aed": "501", "Content-Length: 5\r\nTransfer Encoding: chunked": "400", "Content-Length: 5\r\nTransfer-Encoding;: chunked": "400",
	} {
		all = append(all, sent{spelling, "POST /1" + asks + spelling + "\r\n\r\n0\r\n\r\n" + hidden + last, want})
	}
	for chunk, want := range map[string]string{
		"5 \r\nhello\r\n0\r\n\r\n": "200 200 200", " 5\r\nhello\r\n0\r\n\r\n": "", "+5\r\nhello\r\n0\r\n\r\n": "", "0x5\r\nhello\r\n0\r\n\r\n": "", "5_\r\nhello\r\n0\r\n\r\n": "", "\r\nhello\r\n0\r\n\r\n": "",
		"10000000000000005\r\nhello\r\n0\r\n\r\n": "", "5\rx\r\nhello\r\n0\r\n\r\n": "", "5;a\nb\r\nhello\r\n0\r\n\r\n": "", "5;\x00\r\nhello\r\n0\r\n\r\n": "",
		"5\r\nhello\n0\r\n\r\n": "", "5\r\nhelloX\r\n0\r\n\r\n": "", "5\r\nhello\r\r\n0\r\n\r\n": "", "5\r\nhello\r\n0\n\r\n": "", "5\r\nhello\r\n00000000000000000\r\n\r\n": "", "5\r\nhello\r\n-0\r\n\r\n": "",
		"5\r\nhello\r\n0\r\nContent-Length: 500\r\nHost: other.localhost\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 1.1.1.1\r\nAuthorization: x\r\n\r\n": "200 200 200",
		"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n": "", "5\r\nhello\r\n0\r\nX : a\r\n\r\n": "", "5\r\nhello\r\n0\r\nX\r\n\r\n": "", "5\r\nhello\r\n0\r\n" + strings.Repeat("X: a\r\n", 20000) + "\r\n": "",
		"5;" + strings.Repeat("x", 5000) + "\r\nhello\r\n0\r\n\r\n": "",
	} {
		all = append(all, sent{clip(chunk, 100), "POST /1" + asks + "Transfer-Encoding: chunked\r\n\r\n" + chunk + hidden + last, want})
	}
	sameByEachWay(t, all)
}

// TestAttack_Heads: what else is doubtful in a head: whom it is for, where it ends, what goes no further.
func TestAttack_Heads(t *testing.T) {
	host := func(h string) string { return "GET /1 HTTP/1.1\r\n" + h + "\r\n\r\n" + last }
	sameByEachWay(t, []sent{
		{"two Hosts in one", host("Host: " + name + ", other.localhost"), ""},
		{"Host with a path", host("Host: " + name + "/x"), ""},
		{"Host with a user", host("Host: user@" + name), ""},
		{"Host with an address in brackets", host("Host: [::1]"), "404 200"},
		{"Host with a space before the colon", host("Host : " + name), "400"},
		{"Host with a NUL", host("Host: " + name + "\x00.other"), "400"},
		{"Host with a tab", host("Host:\t" + name + "\t"), "200 200"},
		{"Host folded", host("Host:\r\n " + name), ""},
		{"Host in another case twice", host("Host: " + name + "\r\nhOST: " + name), "400"},
		{"Host with a percent", host("Host: hello%2elocalhost"), ""},
		{"Host of 10,000 octets", host("Host: " + strings.Repeat("a", 10000)), ""},
		{"absolute form, another Host", "GET http://other.localhost/1" + asks + "\r\n" + last, "404 200"},
		{"absolute form, another scheme", "GET https://" + name + "/1" + asks + "\r\n" + last, "200 200"},
		{"absolute form, with a user", "GET http://" + name + "@other.localhost/1" + asks + "\r\n" + last, ""},
		{"absolute form, one slash", "GET http:/" + name + "/1" + asks + "\r\n" + last, ""},
		{"absolute form, no host", "GET http:///1" + asks + "\r\n" + last, ""},
		{"authority form", "GET " + name + ":80" + asks + "\r\n" + last, ""},
		{"CONNECT", "CONNECT " + name + ":80" + asks + "\r\n" + last, ""},
		{"TRACE", "TRACE /1" + asks + "\r\n" + last, "200 200"},
		{"a version in lower case", "GET /1 http/1.1\r\nHost: " + name + "\r\n\r\n" + last, "400"},
		{"a version with a zero", "GET /1 HTTP/01.1\r\nHost: " + name + "\r\n\r\n" + last, "400"},
		{"a version with a NUL", "GET /1 HTTP/1.1\x00\r\nHost: " + name + "\r\n\r\n" + last, "400"},
		{"a tab for a space", "GET\t/1\tHTTP/1.1\r\nHost: " + name + "\r\n\r\n" + last, "400"},
		{"two CRs", "GET /1 HTTP/1.1\r\r\nHost: " + name + "\r\n\r\n" + last, "400"},
		{"the end with a bare LF", "GET /1 HTTP/1.1\r\nHost: " + name + "\n\r\n" + last, ""},
		{"a NUL in the target", "GET /\x001" + asks + "\r\n" + last, "400"},
		{"a CR in the target", "GET /\r1" + asks + "\r\n" + last, "400"},
		{"a fragment", "GET /1#2" + asks + "\r\n" + last, "200 200"},
		{"a space behind a name", "GET /1" + asks + "X-A\u00a0: a\r\n\r\n" + last, "400"},
		{"Connection names what the proxy tells", "GET /1" + asks + "Connection: close, X-Forwarded-For, X-Forwarded-Proto, Authorization, Cookie\r\nAuthorization: x\r\nCookie: y\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", "200"},
		{"Connection with a bad name", "GET /1" + asks + "Connection: a b, \"c\", close\r\n\r\n" + last, ""},
		{"Connection: closed", "GET /1" + asks + "Connection: closed\r\n\r\n" + last, "200 200"},
		{"an upgrade with a body", "GET /1" + asks + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello" + last, "200 200"},
		{"an upgrade that no Connection names", "GET /1" + asks + "Upgrade: websocket\r\n\r\n" + last, "200 200"},
		{"an upgrade with chunks", "POST /1" + asks + "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + last, "200 200"},
		{"Expect twice", "POST /1" + asks + "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + last, ""},
		{"Expect without a body", "GET /1" + asks + "Expect: 100-continue\r\n\r\n" + last, ""},
		{"1 MB of header", "GET /1" + asks + strings.Repeat("X-A: "+strings.Repeat("b", 95)+"\r\n", 10000) + "\r\n" + last, "431"},
		{"1 MB of target", "GET /" + strings.Repeat("a", 1<<20) + asks + "\r\n" + last, "431"},
		{"4,000 fields", "GET /1" + asks + strings.Repeat("a:\r\n", 4000) + "\r\n" + last, "200 200"},
		{"HTTP/1.0 kept with chunks", "POST /1 HTTP/1.0\r\nHost: " + name + "\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + last, ""},
	})
}

// TestAttack_Answers: an app answers so that the client, or the next one on the connection, would take it for another answer, or for two.
func TestAttack_Answers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	sameAnswersByEachWay(t, []answer{
		{"a CR in a value", "GET", ok + "X-A: a\rSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"a LF in a value", "GET", ok + "X-A: a\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"204 with chunks", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "204"},
		{"205 with a body", "GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello", "205"},
		{"103 with a body", "GET", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"100 alone", "GET", "HTTP/1.1 100 Continue\r\n\r\n", ""},
		{"a length with a plus", "GET", ok + "Content-Length: +5\r\n\r\nhello", "502"},
		{"a length below zero", "GET", ok + "Content-Length: -5\r\n\r\nhello", "502"},
		{"a list of lengths", "GET", ok + "Content-Length: 5, 5\r\n\r\nhello", ""},
		{"a length too large", "GET", ok + "Content-Length: 18446744073709551621\r\n\r\nhello", "502"},
		{"chunks twice", "GET", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ""},
		{"chunks by a list", "GET", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ""},
		{"a chunk with a sign", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + pause + "+5\r\nhello\r\n0\r\n\r\n", "200"},
		{"a chunk that overflows", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + pause + "10000000000000005\r\nhello\r\n0\r\n\r\n", "200"},
		{"a chunk with a bare LF", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + pause + "5\nhello\r\n0\r\n\r\n", "200"},
		{"Connection names the length", "GET", ok + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", "200"},
		{"Connection names what is kept", "GET", ok + "Connection: Set-Cookie, close\r\nSet-Cookie: a\r\nContent-Length: 5\r\n\r\nhello", "200"},
		{"a 101 with a body", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello", "502"},
		{"HTTP/1.2", "GET", "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"HTTP/2.0", "GET", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"HTTP/0.9", "GET", "hello", "502"},
		{"a status of four digits", "GET", "HTTP/1.1 0200 OK\r\nContent-Length: 5\r\n\r\nhello", "502"},
		{"a status with a sign", "GET", "HTTP/1.1 +20 OK\r\nContent-Length: 5\r\n\r\nhello", "502"},
		{"a tab behind the version", "GET", "HTTP/1.1\t200 OK\r\nContent-Length: 5\r\n\r\nhello", "502"},
		{"an empty line first", "GET", "\r\n" + ok + "Content-Length: 5\r\n\r\nhello", ""},
		{"a NUL in the reason", "GET", "HTTP/1.1 200 O\x00K\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"4,000 fields", "GET", ok + strings.Repeat("a:\r\n", 4000) + "Content-Length: 5\r\n\r\nhello", "200"},
	})
}

// TestAttack_TwoAnswers: an app sends a second answer together with the first. It hopes that the client that asks next gets it: it is the app's own client, but another one.
func TestAttack_TwoAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []answer{
		{"two answers at once", "GET", ok + "Content-Length: 5\r\n\r\nhello" + ok + "Content-Length: 6\r\n\r\npoison", "200"},
		{"two answers to HEAD", "HEAD", ok + "Content-Length: 5\r\n\r\n" + ok + "Content-Length: 6\r\n\r\npoison", "200"},
		{"an answer behind 204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n" + ok + "Content-Length: 6\r\n\r\npoison", "204"},
		{"an answer behind 304", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n" + ok + "Content-Length: 6\r\n\r\npoison", "304"},
		{"an answer behind the last chunk", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok + "Content-Length: 6\r\n\r\npoison", "200"},
	} {
		addr := closingApp(t, c.bytes)
		for _, w := range ways {
			if w.netHTTP { // whose client sees it a moment later, perhaps too late
				continue
			}
			ask := c.method + " /" + asks
			a := say(t, w.front(t, addr), ask+"\r\n"+ask+"Connection: close\r\n\r\n")
			if got := statuses(a); got != c.want+" "+c.want || strings.Contains(strings.Join(a, ""), "poison") {
				t.Errorf("%s by %s: %q", c.name, w.name, a)
			}
		}
	}
}
