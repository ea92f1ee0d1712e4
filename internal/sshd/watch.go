package sshd

import (
	"fmt"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/awake"
)

// watch closes a connection that does not authenticate in time, one whose client says nothing, not even an answer to the
// question whether it is there, for IdleTimeout, and one that has had no command for UnusedTimeout.
func (c *connection) watch(ctx ssh.Context) {
	o := c.server.opts
	t := time.NewTimer(o.HandshakeTimeout)
	defer t.Stop()
	var conn *gossh.ServerConn
	for allowed := o.HandshakeTimeout; conn == nil; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		conn, _ = ctx.Value(ssh.ContextKeyConn).(*gossh.ServerConn)
		if conn != nil {
			break
		}
		if allowed > o.HandshakeTimeout || !c.promising.Load() {
			c.tried.Store(true) // to hold a place for that long counts as a failure
			c.cut(fmt.Sprintf("took longer than %v", allowed))
			return
		}
		allowed += proofTimes * o.HandshakeTimeout
		t.Reset(proofTimes * o.HandshakeTimeout)
	}
	asking := make(chan struct{})
	ask := time.NewTicker(o.KeepAlive)
	defer ask.Stop()
	go func() { // a question may wait long for its answer, and for room in the client's buffers
		for range asking {
			if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				_ = c.Close()
			}
		}
	}()
	defer close(asking)
	still := awake.Stillness{Every: o.KeepAlive}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ask.C:
		}
		if now := time.Now(); still.Beat(now) { // nothing was asked and heard meanwhile: the client gets its time again
			c.heard.Store(now.UnixNano())
			c.used.Store(now.UnixNano())
		}
		if time.Since(time.Unix(0, c.heard.Load())) > o.IdleTimeout {
			c.cut(fmt.Sprintf("the client has not answered for %v", o.IdleTimeout))
			return
		}
		if c.commands.Load() == 0 && time.Since(time.Unix(0, c.used.Load())) > o.UnusedTimeout {
			c.cut(fmt.Sprintf("no command for %v", o.UnusedTimeout))
			return
		}
		select {
		case asking <- struct{}{}:
		default: // the last question is not answered yet
		}
	}
}
