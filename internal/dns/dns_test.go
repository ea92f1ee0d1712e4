package dns_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/dns"
	"github.com/gitd-io/gitd/internal/dns/dnstest"
	"golang.org/x/net/dns/dnsmessage"
)

func start(t *testing.T) *dnstest.Resolver {
	t.Helper()
	r, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestQuery(t *testing.T) {
	r := start(t)
	long := make([]string, 40)
	for i := range long {
		long[i] = "TXT " + strings.Repeat("x", 100)
	}
	for name, records := range map[string][]string{
		"www.example.com": {"CNAME example.com"},
		"example.com":     {"A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "TXT some text", "CAA issue ca.example"},
		"*.wild.example":  {"A 192.0.2.9"},
		"long.example":    long,
	} {
		if err := r.Set(name, records...); err != nil {
			t.Fatal(err)
		}
	}
	other := start(t)
	if err := other.Set("x.delegated.example", "TXT from there"); err != nil {
		t.Fatal(err)
	}
	r.Delegate("delegated.example", other.Address)
	c := &dns.Client{Server: r.Address}
	for _, q := range []struct {
		name string
		t    dnsmessage.Type
		want []string
	}{
		{"example.com", dnsmessage.TypeA, []string{"192.0.2.1", "192.0.2.2"}}, {"EXAMPLE.com", dnsmessage.TypeAAAA, []string{"2001:db8::1"}},
		{"www.example.com", dnsmessage.TypeAAAA, []string{"2001:db8::1"}}, {"example.com", dnsmessage.TypeTXT, []string{"some text"}},
		{"example.com", dns.TypeCAA, []string{"\x00\x05issueca.example"}}, {"a.wild.example", dnsmessage.TypeA, []string{"192.0.2.9"}},
		{"x.delegated.example", dnsmessage.TypeTXT, []string{"from there"}}, {"example.com", dnsmessage.TypeNS, nil},
	} {
		a, err := c.Query(t.Context(), q.name, q.t)
		if err != nil || !slices.Equal(a.Of(q.t), q.want) || a.NotFound {
			t.Errorf("%s: %+v, %v", q.name, a, err)
		}
	}
	if a, err := c.Query(t.Context(), "nothing.example", dnsmessage.TypeA); err != nil || !a.NotFound {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := c.Query(t.Context(), "long.example", dnsmessage.TypeTXT); err != nil || len(a.Records) != 40 { // over TCP
		t.Errorf("%+v, %v", a, err)
	}
	r.Break(true)
	if a, err := c.Query(t.Context(), "example.com", dnsmessage.TypeA); err == nil || !strings.Contains(err.Error(), "ServerFailure") {
		t.Errorf("%+v, %v", a, err)
	}
}

// exhausted is a listener without descriptors for a while.
type exhausted struct {
	net.Listener
	left atomic.Int64
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// A moment without descriptors does not end the answers over TCP, and the end of the server does.
func TestServer_NoDescriptors(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &exhausted{Listener: tcp}
	l.left.Store(3)
	ended := make(chan error, 1)
	go func() {
		ended <- (&dns.Server{Answer: func(string, dnsmessage.Type) dns.Reply {
			var long []dns.Record
			for range 40 {
				long = append(long, dns.Record{Name: "long.example", Type: dnsmessage.TypeTXT, Value: strings.Repeat("x", 100)})
			}
			return dns.Reply{Answers: long}
		}}).Serve(ctx, udp, l)
	}()
	if a, err := (&dns.Client{Server: tcp.Addr().String()}).Query(t.Context(), "long.example", dnsmessage.TypeTXT); err != nil || len(a.Records) != 40 { // over TCP
		t.Errorf("%+v, %v", a, err)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
}

// A message that is no question, or a bad one, gets no answer, and breaks nothing.
func FuzzReply(f *testing.F) {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &dns.Server{Answer: func(name string, _ dnsmessage.Type) dns.Reply {
			return dns.Reply{Answers: []dns.Record{{Name: name, Type: dnsmessage.TypeTXT, Value: strings.Repeat("x", 250)}, {Name: name, Type: dnsmessage.TypeTXT, Value: strings.Repeat("x", 250)}}}
		}}
		if out := dns.ReplyOf(s, in, 512); len(out) > 512 {
			t.Errorf("%d bytes", len(out))
		}
	})
}

func TestSystem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("# x\nnameserver 192.0.2.53\nsearch a.example\nnameserver 2001:db8::53\nnameserver nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := dns.System(file); !slices.Equal(got, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) {
		t.Errorf("%q", got)
	}
	if got := dns.System(filepath.Join(t.TempDir(), "none")); !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("%q", got)
	}
}
