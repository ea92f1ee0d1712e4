package sshd

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestAddressOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7:22": "192.0.2.7", "[::ffff:192.0.2.7]:22": "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:22": "2001:db8:1:2::", "[fe80::1%eth0]:22": "fe80::", "[::1]:22": "::",
	} {
		if got := addressOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(in))); got.String() != want {
			t.Errorf("%s is counted as %s, not %s", in, got, want)
		}
	}
	if got := addressOf(nil); got.IsValid() {
		t.Error(got)
	}
	if got := addressOf(&net.UnixAddr{Name: "/x"}); got.IsValid() {
		t.Error(got)
	}
}

func TestBackoff(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	b := newBackoff(10, 6*time.Second)
	is := func(what string, address netip.Addr, want time.Duration) {
		t.Helper()
		if got := b.wait(address, now); (got - want).Abs() > time.Millisecond {
			t.Errorf("%s: %v; it must be %v", what, got, want)
		}
	}
	fail := func(n int, weight float64) {
		for range n {
			b.failed(a, weight, now)
		}
	}
	is("at first", a, 0)
	fail(9, failedLogin)
	is("after 9", a, 0)
	fail(1, failedLogin)
	is("after 10", a, 6*time.Second)
	is("another address", other, 0)
	fail(1000, failedLogin)
	is("the longest there is", a, 30*time.Second)
	now = now.Add(30 * time.Second)
	is("once that is over", a, 0)
	fail(1, failedLogin)
	is("with the next failure", a, 6*time.Second)
	now = now.Add(-time.Hour)
	is("with the clock set back", a, 6*time.Second)
	now = now.Add(time.Hour)
	b.succeeded(a, now)
	fail(90, failedLogin)
	is("90 failures of an address that is known", a, 0)
	fail(1, failedLogin)
	is("91", a, 600*time.Millisecond)
	fail(1000, failedLogin)
	is("the longest there is for an address that is known", a, 3*time.Second)
	now = now.Add(knownFor + time.Minute)
	fail(10, failedLogin)
	is("10 when it is not known any more", a, 6*time.Second)
	now = now.Add(time.Hour)
	fail(90, failedProbe)
	is("90 that came and went", a, 0)

	b = newBackoff(-1, time.Second)
	fail(100, failedLogin)
	is("switched off", a, 0)
}

func TestBackoffForgets(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := newBackoff(10, 6*time.Second)
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 3 * maxBackoffs {
		b.failed(address(i), failedLogin, now)
	}
	if len(b.entries) != maxBackoffs || b.order.Len() != maxBackoffs || b.entries[address(0)] != nil || b.entries[address(3*maxBackoffs-1)] == nil {
		t.Errorf("%d entries, %d in order", len(b.entries), b.order.Len())
	}
	now = now.Add(knownFor)
	b.failed(address(0), failedLogin, now)
	if len(b.entries) != 1 || b.order.Len() != 1 {
		t.Errorf("%d entries, %d in order when all are out of date", len(b.entries), b.order.Len())
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var b bucket
	for range 5 {
		if !b.take(now, 5, 2) {
			t.Error("not even what it holds")
		}
	}
	if b.take(now, 5, 2) {
		t.Error("more than it holds")
	}
	now = now.Add(time.Second)
	for i := range 3 {
		if b.take(now, 5, 2) != (i < 2) {
			t.Error("a second must make room for two")
		}
	}
}
