package sshd

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// Commands that read no input are fed with it, on many sessions: unread input would stay in the server's memory, 2 MiB each. It is
// dropped; and sessions without a command, whose input cannot be dropped yet, are few.
func TestAttack_UnreadInput(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxInput = 16 * window })
	running := make(chan struct{}, 100)
	fx.h.SetCommand(func(ctx context.Context, _ app.Key, _ []string, _ io.Reader, _, _ io.Writer) int {
		running <- struct{}{}
		<-ctx.Done()
		return 0
	})
	conn, err := gossh.Dial("tcp", fx.Addr, fx.Client(fx.Signer(fx.Key)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 8 { // more than the four that one address may leave unread
		s, err := conn.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("logs shop -f"); err != nil {
			t.Fatal(err)
		}
		gittest.Receive(t, "the command", running)
		sent := make(chan error, 1)
		go func() { _, err := in.Write(make([]byte, 3*window)); sent <- err }()
		if err := gittest.Receive(t, "the end of the input", sent); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		_, err := conn.NewSession()
		var refused *gossh.OpenChannelError
		if errors.As(err, &refused) != (i == 4) {
			t.Errorf("session %d without a command: %v", i, err)
		}
	}
}

func TestWindows(t *testing.T) {
	w := newWindows(8 * window)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var release []func()
	for i := range 3 {
		r, ok := w.take(a)
		if ok != (i < 2) {
			t.Fatal(i, ok)
		}
		if ok {
			release = append(release, r)
		}
	}
	if _, ok := w.take(b); !ok {
		t.Error("another address has no room")
	}
	release[0]()
	release[0]()
	if _, ok := w.take(a); !ok {
		t.Error("no room after a release")
	}
	if _, ok := w.take(a); ok {
		t.Error("a window was given back twice")
	}
}
