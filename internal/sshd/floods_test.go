package sshd

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/gittest"
)

func TestFloods(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("flood", func(t *testing.T) {
		fx := start(t, nil)
		fx.h.SetCommand(whoami)
		const flood = 20 * requestsAtOnce
		for name, send := range map[string]func(c *gossh.Client, ss *gossh.Session) error{
			"global": func(c *gossh.Client, _ *gossh.Session) error {
				_, _, err := c.SendRequest("x@example.com", false, nil)
				return err
			},
			"window-change": func(_ *gossh.Client, ss *gossh.Session) error { return ss.WindowChange(1, 1) },
			"pty": func(_ *gossh.Client, ss *gossh.Session) error {
				_, err := ss.SendRequest("pty-req", false, nil)
				return err
			},
			"signal": func(_ *gossh.Client, ss *gossh.Session) error { return ss.Signal(gossh.SIGINT) },
			"forward": func(c *gossh.Client, _ *gossh.Session) error {
				_, _, err := c.OpenChannel("direct-tcpip", nil)
				var refused *gossh.OpenChannelError
				if errors.As(err, &refused) {
					return nil
				}
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				c := fx.Dial()
				defer c.Close()
				ss, err := c.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				for i := range flood {
					if err = send(c, ss); err != nil {
						if i < requestsAtOnce/2 {
							t.Errorf("cut off after %d already", i)
						}
						break
					}
				}
				if err == nil {
					t.Error("no end to it")
				}
				_ = c.Wait()
				fx.Logged("too many requests")
				fx.runs("127.0.0.1")
			})
		}
	})
	gittest.NoMoreGoroutines(t, before)
}

// TestChannelsOfOneWhoDoesNotRead opens channels and never reads what becomes of them.
func TestChannelsOfOneWhoDoesNotRead(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("flood", func(t *testing.T) {
		fx := start(t, nil)
		fx.h.SetCommand(whoami)
		raw := fx.ConnectFrom("127.0.0.1")
		gate := &gated{Conn: raw}
		conn, channels, requests, err := gossh.NewClientConn(gate, fx.Addr, fx.Client(fx.Signer(fx.Key)))
		if err != nil {
			t.Fatal(err)
		}
		go gossh.DiscardRequests(requests)
		go func() {
			for c := range channels {
				_ = c.Reject(gossh.Prohibited, "")
			}
		}()
		gate.shut.Store(true)
		for range 3 * requestsAtOnce {
			go func() { _, _, _ = conn.OpenChannel("x", nil) }()
		}
		gittest.Eventually(t, "it is cut off", func() bool { return fx.s.Connections() == 0 })
		_ = conn.Close()
		fx.runs("127.0.0.1")
	})
	gittest.NoMoreGoroutines(t, before)
}

// gated is a connection that stops reading when it is shut.
type gated struct {
	net.Conn
	shut atomic.Bool
}

func (g *gated) Read(p []byte) (int, error) {
	for g.shut.Load() {
		if err := g.Conn.SetWriteDeadline(time.Time{}); err != nil { // closed
			return 0, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return g.Conn.Read(p)
}
