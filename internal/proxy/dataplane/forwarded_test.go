package dataplane

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestTold(t *testing.T) {
	for name, want := range map[string][2]bool{
		"X-Forwarded-For": {true, false}, "x-forwarded-for": {true, false}, "X_forwarded_for": {true, true}, "X-Forwarded_for": {true, true},
		"X-Forwarded-Port": {true, false}, "X-Forwarded-Prefix": {true, false}, "X-Forwarded-Ssl": {true, false}, "X-Forwarded-Server": {true, false},
		"X-Forwarded-User": {true, false}, "X-Forwarded-Client-Cert": {true, false}, "X-Forwarded": {true, false}, "Forwarded": {true, false},
		"X-Forwarded-" + strings.Repeat("a", 100): {true, false}, "X_forwarded-" + strings.Repeat("a", 100): {true, true},
		"X-Real-Ip": {true, false}, "X_real_ip": {true, true}, "True-Client-Ip": {true, false}, "Cf-Connecting-Ip": {true, false},
		"X-Client-Cert": {true, false}, "X-Client-Cert-Chain": {true, false}, "Client-Cert": {true, false}, "Ssl-Client-Verify": {true, false},
		"X-Ssl-Client-Dn": {true, false}, "X-Cluster-Client-Ip": {true, false}, "X-Scheme": {true, false}, "Front-End-Https": {true, false},
		"X-Forwardedfor": {}, "X-Forward-For": {true, false}, "Proxy": {true, false}, "Remote_user": {true, true}, "Https": {true, false}, "Host": {}, "Priority": {}, "Range": {}, "If-None-Match": {}, "Cookie": {}, "User-Agent": {}, "X-Request-Id": {}, "X_custom": {false, true}, "Content-Type": {}, "": {}, "X": {},
		"Sec-Websocket-Key": {}, "Te": {}, "Client-Certificates": {}, "X-Api-Key": {},
	} {
		yes, underscore := aboutClient(name)
		if yes != want[0] || yes && underscore != want[1] {
			t.Errorf("%s: %t, %t", name, yes, underscore)
		}
	}
}

// TestAttack_ForwardedHeaders: a client names another address, another scheme, a certificate that it does not have, in each spelling that
// a framework takes for the proxy's. It hopes that its requests count for another client's rate limit, that an allowed address lets it in, or
// that it is taken for an admin. Nothing of that reaches the app, neither directly nor, with an underscore, through a trusted proxy.
func TestAttack_ForwardedHeaders(t *testing.T) {
	spellings := []string{"X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-Forwarded_For", "X_FORWARDED-FOR", "X-Forwarded-Proto", "X_Forwarded_Proto", "X-Forwarded-Host",
		"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Real-IP", "X_Real_IP", "True-Client-IP",
		"CF-Connecting-IP", "X-Client-Cert", "X-SSL-Client-Verify", "SSL_CLIENT_VERIFY", "Client-Cert", "Forwarded", "X-Client-IP", "X-Scheme"}
	addr, got := rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	for _, trusted := range []bool{false, true} {
		p := New(nil)
		if trusted {
			p = New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
		}
		p.Publish(&Table{Hosts: map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{}), 100}}}})
		front := serve(t, p)
		for _, s := range spellings {
			ask(t, front, "GET / HTTP/1.1\r\nHost: "+name+"\r\n"+s+": forged\r\nConnection: close\r\n\r\n")
			reached := strings.Contains(<-got, "forged")
			if want := trusted && !strings.Contains(s, "_"); reached != want {
				t.Errorf("from a trusted peer %t: %s reached the app: %t", trusted, s, reached)
			}
		}
	}
}

// TestAttack_ForgedInside: a user who may call a function, and no more, sends what only a trusted proxy may. gitd makes that request itself, from an address
// that a trusted proxy may have too.
func TestAttack_ForgedInside(t *testing.T) {
	p := route(map[string]Split{name: {{Revision: revisionAt(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Remote-User"], r.Header["Client-Cert"], r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"], r.Header["X-Mark"])
	})), false, RevisionOptions{}), Percent: 100}}})
	p.trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for want, ctx := range map[string]context.Context{"[] [] [127.0.0.1] [http] [kept]": WithMark(t.Context()), "[ada] [x] [6.6.6.6, 127.0.0.1] [https] [kept]": t.Context()} {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://"+name+"/", nil)
		r.RemoteAddr = "127.0.0.1:0"
		for k, v := range map[string]string{"Remote-User": "ada", "Client-Cert": "x", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Mark": "kept"} {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if got := w.Body.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// What trusted proxies say is passed on, with their own address added.
func TestTrustedProxies(t *testing.T) {
	addr, got := rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	p := New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	p.Publish(&Table{Hosts: map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{HTTP1: true}), 100}}}})
	fronts := []string{serve(t, p), serve(t, http.HandlerFunc(p.ServeHTTP))}
	for sent, want := range map[string]string{
		"": "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: " + name + "\r\nX-Forwarded-Proto: http",
		"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 203.0.113.7\r\n": "X-Forwarded-For: 203.0.113.7, 127.0.0.1\r\n" +
			"X-Forwarded-Host: www.example.com\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 203.0.113.7",
		"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n": "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1\r\nX-Forwarded-Host: " + name + "\r\nX-Forwarded-Proto: http",
		"Forwarded: for=192.0.2.43;proto=https\r\n": "Forwarded: for=192.0.2.43;proto=https, for=127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: " + name +
			"\r\nX-Forwarded-Proto: http",
	} {
		for _, front := range fronts {
			ask(t, front, "GET / HTTP/1.1\r\nHost: "+name+"\r\n"+sent+"Connection: close\r\n\r\n")
			var lines []string
			for l := range strings.SplitSeq(<-got, "\r\n") {
				if yes, _ := aboutClient(strings.SplitN(l, ":", 2)[0]); yes {
					lines = append(lines, l)
				}
			}
			slices.Sort(lines)
			if have := strings.Join(lines, "\r\n"); have != want {
				t.Errorf("%q:\n got %q\nwant %q", sent, have, want)
			}
		}
	}
	for a, want := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "127.0.0.2": false, "::1": false} {
		if Within(p.trusted, netip.MustParseAddr(a)) != want {
			t.Errorf("%s: trusted is %t", a, !want)
		}
	}
	for remote, want := range map[string]string{"1.2.3.4:5": "1.2.3.4", "[2001:db8::1]:5": "2001:db8::1", "[fe80::1%eth0]:5": "fe80::1%eth0"} {
		if got := address(remote); got != want {
			t.Errorf("%s: %s", remote, got)
		}
	}
	if got := node("2001:db8::1"); got != `"[2001:db8::1]"` {
		t.Error(got)
	}
}
