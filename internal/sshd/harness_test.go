package sshd

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// handler is the rest of gitd as these tests see it.
type handler struct {
	gittest.Keys
	gittest.Commands
}

// fixture is a server with a user who has a key and a home.
type fixture struct {
	*gittest.User
	*gittest.Log
	s *Server
	h *handler
}

func start(t testing.TB, change func(*Options)) *fixture {
	t.Helper()
	fx := &fixture{User: gittest.NewUser(t), Log: gittest.NewLog(t), h: &handler{}}
	o := Options{HostKeyFile: filepath.Join(fx.Home, "server", "host_key"), Handler: fx.h, Log: fx.Printf,
		Greeting: func(k app.Key) string { return "Hello " + k.Name + "\nhelp\n" }}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	fx.s = s
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	fx.Key = fx.newKey("laptop", app.Key{Name: "laptop", Admin: true})
	signer, err := hostKey(o.HostKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	fx.Trust(listener.Addr().String(), signer.PublicKey())
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return fx
}

// newKey makes a key pair, and registers it when k has a name.
func (fx *fixture) newKey(file string, k app.Key) string {
	fx.T.Helper()
	path, public := fx.MakeKey(file)
	if k.Name != "" {
		fx.h.Register(public, k)
	}
	return path
}

// runs checks that a client from the address is served.
func (fx *fixture) runs(address string) {
	fx.T.Helper()
	c, err := fx.DialFrom(address, fx.Signer(fx.Key))
	if err != nil {
		fx.T.Errorf("from %s: %v", address, err)
		return
	}
	defer c.Close()
	ss, err := c.NewSession()
	if err != nil {
		fx.T.Errorf("from %s: %v", address, err)
		return
	}
	if out, err := ss.Output("whoami"); err != nil || string(out) != "laptop" {
		fx.T.Errorf("from %s: %q %v", address, out, err)
	}
}

func whoami(_ context.Context, k app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
	fmt.Fprint(out, k.Name)
	return 0
}
