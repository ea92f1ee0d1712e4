package repository

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/clouds"
)

func TestParseRemote(t *testing.T) {
	for in, want := range map[string]string{
		"https://example.com/a/b.git":             "https://example.com/a/b.git",
		"https://user:secret@example.com:8443/a":  "https://user:secret@example.com:8443/a",
		"ssh://git@example.com/a/b":               "ssh://git@example.com/a/b",
		"ssh://example.com:2222/~me/b":            "ssh://example.com:2222/~me/b",
		"git+ssh://git@example.com/a":             "ssh://git@example.com/a",
		"git@example.com:a/b.git":                 "git@example.com:a/b.git",
		"example.com:b":                           "example.com:b",
		"https://[2001:db8::1]:8443/a":            "https://[2001:db8::1]:8443/a",
		"git@[2001:db8::1]:a":                     "git@[2001:db8::1]:a",
		"ssh://git@example.com/with%20space/repo": "!holds characters",
	} {
		r, err := parseRemote(in)
		if want[0] == '!' {
			continue
		}
		if err != nil || r.url() != want {
			t.Errorf("%s: %q %v", in, r.url(), err)
		}
		if strings.Contains(r.String(), "secret") {
			t.Errorf("%s shows a password", r)
		}
	}
	for in, why := range map[string]string{
		"": "is not a URL", "-oProxyCommand=id": "is not a URL", "../b": "is relative", "./b": "is relative", "/srv/b": "is a path", "b": "is a path",
		"file:///srv/b": "file://", "git://example.com/b": "git://", "http://example.com/b": "http://", "ext::sh -c id": "characters",
		"ext::id": "is a path", "fd::17": "is a path", "https://-x/b": "no host", "ssh://-oProxyCommand=id/b": "no host", "-x@host:b": "is not a URL",
		"ssh://-x@host/b": "no user", "ssh://git:pw@host/b": "no user", "host:-x": "no path", "ssh://host/-x": "no path", "https://host/": "no path", "https://host": "no path",
		"https://ho%20st/b": "", "https://host:0/b": "bad port", "https://host:99999999/b": "", "https://host/b?x": "cannot be read", "https://host/b#x": "cannot be read",
		"https://host/a\nb": "characters", "https://host/'b": "characters", "C:\\b": "characters", "https://[fe80::1%25eth0]/b": "no host",
		"https://2130706433/b": "no host", "https://127.1/b": "no host", "https://0x7f.1/b": "no host", "ssh://host.0X7F/b": "no host", "0x:b": "no host", "https://127.0.0.01/b": "no host",
		"https://" + strings.Repeat("x", 3000): "too long",
	} {
		_, err := parseRemote(in)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v; it must say %q", in, err, why)
		}
	}
	for _, c := range [][3]string{
		{"https://host/a/b.git", "../c.git", "https://host/a/c.git"}, {"https://host/a/b", "../../c", "https://host/c"}, {"https://host/a/b/", "./c", "https://host/a/b/c"},
		{"git@host:a/b", "../c", "git@host:a/c"}, {"git@host:b", "../c", "git@host:c"}, {"ssh://git@host:22/a/b", "../c", "ssh://git@host:22/a/c"},
		{"https://host/a/b", "https://other/c", "https://other/c"}, {"https://host/a", "../../../c", ""}, {"git@host:a", "../..", ""}, {"https://host/a/b", "../-x/../y", "https://host/a/y"}, {"https://host/a/b", "..", "https://host/a"}, {"https://host/a/b", ".", "https://host/a/b"},
		{"https://host/a/b", "file:///etc", ""}, {"https://host/a/b", "/etc", ""}, {"git@host:b", "../-oX", ""},
	} {
		from, err := parseRemote(c[0])
		if err != nil {
			t.Fatal(err)
		}
		r, err := from.resolve(c[1])
		if c[2] == "" && err == nil || c[2] != "" && (err != nil || r.url() != c[2]) {
			t.Errorf("%s from %s: %q %v; want %q", c[1], c[0], r.url(), err, c[2])
		}
	}
}

func TestOldGitPinsNothing(t *testing.T) {
	for version, want := range map[string]bool{
		"git version 2.36.9": false, "git version 2.37.0": true, "git version 2.39.5 (Apple Git-154)": true, "git version 3.0.rc1": true, "git version 1.99": false, "": false, "git": false,
	} {
		if hasResolve(version) != want {
			t.Errorf("%q: %v", version, !want)
		}
	}
	if !pinned() {
		t.Error("the tests need git 2.37 or newer")
	}
	real := pinned
	defer func() { pinned = real }()
	pinned = func() bool { return false }
	err := (&modules{repository: start(t, nil).f.Of("x")}).get(context.Background(), objects{}, remote{scheme: "https", host: "192.0.2.1", path: "/x"}, ZeroID)
	if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "too old to fetch over https") {
		t.Error(err)
	}
}

func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{"https://u:p@host:1/a/b", "git@host:a", "ssh://host/~a", "../x", "ext::x", "-o"} {
		f.Add(s, "../y")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		r, err := parseRemote(a)
		if err != nil {
			return
		}
		next, err := r.resolve(b)
		if err != nil {
			next = r
		}
		for _, r := range []remote{r, next} {
			again, err := parseRemote(r.url())
			if err != nil || again.host != r.host || again.scheme != r.scheme {
				t.Errorf("%q was read as %q, and that as %q (%v)", a, r.url(), again.url(), err)
			}
			if strings.HasPrefix(r.host, "-") || strings.HasPrefix(r.user, "-") || strings.ContainsAny(r.url(), " \n'\"\\") || r.scheme != "ssh" && r.scheme != "https" {
				t.Errorf("%q got through", r.url())
			}
		}
	})
}

func TestReachable(t *testing.T) {
	var own []net.Addr
	for _, s := range []string{"127.0.0.1/8", "192.168.7.5/24", "10.231.0.1/30", "203.0.113.9/32", "2001:db8:1::5/64"} {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "192.168.7.6": true, "10.0.0.1": true, "2001:db8:1::6": true, "127.0.0.2": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false, "192.168.7.5": false, "203.0.113.9": false, "2001:db8:1::5": false,
		"10.231.0.2": false, "169.254.169.254": false, "fe80::1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "fd00:ec2::254": false,
		"100.100.100.200": false, "168.63.129.16": false, "64:ff9b::7f00:1": false, "::7f00:1": false, "2002:7f00:1::": false,
	} {
		if got := clouds.Reachable(netip.MustParseAddr(ip), own, allowed); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	mapped := remote{scheme: "https", host: "::ffff:127.0.0.1", path: "/x"}
	if _, err := mapped.addresses(context.Background(), nil); err == nil {
		t.Error("an IPv4 address in IPv6 clothes got through")
	}
}
