package registry

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestRemoteCheck(t *testing.T) {
	users := newExternal(t, externalOptions{user: "gitd", password: "secret"})
	open := newExternal(t, externalOptions{})
	readOnly := serveOn(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodGet {
			refuse(w, http.StatusForbidden, "DENIED", "no")
			return
		}
		open.handler.ServeHTTP(w, q)
	}), loopback)
	strange := serveOn(t, http.NotFoundHandler(), loopback)
	broken := serveOn(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), loopback)
	tls := httptest.NewUnstartedServer(open.handler)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr().String()
	closed.Close()
	// A second name of this machine, for which plain HTTP is not taken for granted.
	foreign := func(host string) string {
		_, port, _ := net.SplitHostPort(host)
		return net.JoinHostPort(otherAddress(t), port)
	}
	all := serveOn(t, open.handler, "0.0.0.0:0")

	for _, c := range []struct {
		what string
		o    RemoteOptions
		want string // part of the message; "" for none
		next string
	}{
		{"no users", RemoteOptions{Prefix: open.host + "/team"}, "", ""},
		{"good credentials", RemoteOptions{Prefix: users.host, Config: loginFile(t, users.host, "gitd", "secret")}, "", ""},
		{"no credentials", RemoteOptions{Prefix: users.host, Config: loginFile(t, "other.example", "a", "b")}, "requires credentials", "put working credentials"},
		{"wrong credentials", RemoteOptions{Prefix: users.host, Config: loginFile(t, users.host, "gitd", "wrong")}, "does not accept the credentials", "put working"},
		{"no right to push", RemoteOptions{Prefix: readOnly}, "requires credentials", "--registry-config"},
		{"no right to push, logged in", RemoteOptions{Prefix: readOnly, Config: loginFile(t, readOnly, "gitd", "secret")}, "may not push", "right to push"},
		{"not reachable", RemoteOptions{Prefix: refusing}, "cannot be reached", "check that it runs"},
		{"unknown host", RemoteOptions{Prefix: "registry.invalid/team"}, "registry.invalid", "check"},
		{"not a registry", RemoteOptions{Prefix: strange}, "is not a registry", "check the name"},
		{"out of order", RemoteOptions{Prefix: broken}, "out of order", "look at"},
		{"plain where TLS is wanted", RemoteOptions{Prefix: foreign(all)}, "speaks plain HTTP, not TLS", "--registry-insecure"},
		{"plain by choice", RemoteOptions{Prefix: foreign(all), Insecure: true}, "", ""},
		{"TLS where plain is wanted", RemoteOptions{Prefix: tls.Listener.Addr().String(), Insecure: true}, "speaks TLS", "leave out --registry-insecure"},
	} {
		t.Run(c.what, func(t *testing.T) {
			err := openRemote(t, c.o).Check(context.Background())
			message, next := app.Explain(err)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(message, c.want) || !strings.Contains(next, c.next) || strings.Contains(message, "\n") {
				t.Errorf("got %q, %q", message, next)
			}
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		// This machine's own addresses may speak plain HTTP, and are asked that way: so a name of another kind.
		r := openRemote(t, RemoteOptions{Prefix: "example.com:443"})
		r.client = encrypted{&http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, tls.Listener.Addr().String())
		}}}
		err := r.Check(context.Background())
		if message, next := app.Explain(err); err == nil || !strings.Contains(message, "authority that is not trusted") || !strings.Contains(next, "SSL_CERT_FILE") {
			t.Errorf("got %q, %q", message, next)
		}
	})
}

// otherAddress is an address of this machine that is not loopback's.
func otherAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but loopback's: the test needs one")
	return ""
}

func TestOpenRemote(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(garbage, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    RemoteOptions
		want string
	}{
		{RemoteOptions{Prefix: ""}, "does not begin with the host"},
		{RemoteOptions{Prefix: "team/app"}, "does not begin with the host"},
		{RemoteOptions{Prefix: "registry.example.com/Team"}, "cannot be part of"},
		{RemoteOptions{Prefix: "registry.example.com/team/../x"}, "cannot be part of"},
		{RemoteOptions{Prefix: "registry .example.com"}, "is not a registry"},
		{RemoteOptions{Prefix: "registry.example.com", Config: "/nowhere/config.json"}, "cannot be read"},
		{RemoteOptions{Prefix: "registry.example.com", Config: garbage}, "cannot be read"},
	} {
		_, err := OpenRemote(c.o)
		if message, next := app.Explain(err); err == nil || !strings.Contains(message, c.want) || next == "" {
			t.Errorf("%+v: got %q, %q", c.o, message, next)
		}
	}
	for _, prefix := range []string{"registry.example.com", "registry.example.com/team/", "localhost:5000", "10.0.0.1:5000/a/b", "docker.io/team"} {
		if _, err := OpenRemote(RemoteOptions{Prefix: prefix}); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
