package sandbox

import (
	"io"
	"net"
	"slices"
	"testing"
)

// A listener in a container is there before its process, is reached by it alone, and does not count among its ports.
func TestListen(t *testing.T) {
	h := openHost(t)
	served := make(chan struct{})
	c := start(t, h, Spec{ID: "listen", Args: []string{"/probe", "sleep", "1h"}, Listen: 7769, Serve: func(l net.Listener) {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}})
	conn, err := c.Dial(t.Context(), 7769)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	conn.Close()
	if conn, err := net.Dial("tcp", "127.0.0.1:7769"); err == nil {
		conn.Close()
		t.Error("it is reached from outside")
	}
	if ports, err := c.Listening(); err != nil || slices.Contains(ports, 7769) {
		t.Errorf("%d, %v", ports, err)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-served
	if _, err := c.Listen(7769); err == nil {
		t.Error("it listens in a container that is gone")
	}
}
