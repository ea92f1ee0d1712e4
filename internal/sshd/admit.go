package sshd

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/gliderlabs/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// accept is gliderlabs/ssh's ConnCallback: it counts the connection, and starts to watch it.
func (s *Server) accept(ctx ssh.Context, raw net.Conn) net.Conn {
	now := time.Now()
	c := &connection{Conn: raw, server: s, address: addressOf(raw.RemoteAddr()), began: now}
	c.heard.Store(now.UnixNano())
	c.used.Store(now.UnixNano())
	refusal, result := "", "accepted"
	if wait := s.backoff.wait(c.address, s.opts.now()); wait > 0 {
		refusal = fmt.Sprintf("too many failed logins from your address, try again in %d s", int(math.Ceil(wait.Seconds())))
		result = "backoff"
	} else {
		var crowded *connection
		refusal, crowded = s.admit(c)
		if crowded != nil {
			crowded.cut("had to make room for others")
		}
	}
	switch {
	case refusal == draining:
		result = "shutdown"
	case refusal != "" && result == "accepted":
		result = "crowded"
	}
	s.opts.Metrics.Connections.Inc(result)
	if refusal != "" {
		if refusal != draining {
			s.strangers.log(s.opts.now(), s.opts.Log, c.auditLine(app.Key{}, "", "", "refused: "+refusal))
			_ = raw.SetWriteDeadline(now.Add(time.Second))
			_, _ = io.WriteString(raw, "gitd: "+refusal+"\r\n") // RFC 4253, 4.2 allows lines before the version
		}
		return nil
	}
	ctx.SetValue(connKey, c)
	go c.watch(ctx)
	return c
}

// draining is why connections are refused while the server shuts down.
const draining = "the server is shutting down"

// admit counts c in, or says why not. Where all places are taken, one that is of no use (not authenticated, or without a command) is
// freed for it: the oldest of the address that has most of those, if that has more than c's own. So a client that fills the
// server with idle connections is in its own way first, and a crowd of addresses cannot shut others out by merely connecting.
func (s *Server) admit(c *connection) (refusal string, crowded *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return draining, nil
	}
	if o := s.opts; o.MaxPerAddress >= 0 && s.perAddress[c.address] >= o.MaxPerAddress {
		return "too many connections from your address, try again in a moment", nil
	}
	handshakes := s.handshaking >= max(1, s.opts.MaxConnections/2)
	if handshakes || len(s.connections) >= s.opts.MaxConnections {
		if crowded = s.leastUse(c.address, handshakes); crowded == nil {
			return "too many connections, try again in a moment", nil
		}
		s.forget(crowded)
	}
	s.connections[c] = struct{}{}
	s.unproven[c.RemoteAddr()] = c
	s.perAddress[c.address]++
	s.handshaking++
	return "", crowded
}

// Connections returns how many there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connections)
}

// leastUse returns the connection that has to go for one from address, or nil. It is called with mu held.
func (s *Server) leastUse(address netip.Addr, handshakes bool) (found *connection) {
	idle := func(c *connection) bool {
		return !c.identified.Load() || !handshakes && c.commands.Load() == 0
	}
	of := map[netip.Addr]int{}
	for c := range s.connections {
		if idle(c) {
			of[c.address]++
		}
	}
	for c := range s.connections {
		if !idle(c) || of[c.address] <= of[address] {
			continue
		}
		if found == nil || of[c.address] > of[found.address] || of[c.address] == of[found.address] && c.used.Load() < found.used.Load() {
			found = c
		}
	}
	return found
}

// forget counts c out. It is called with mu held.
func (s *Server) forget(c *connection) {
	if _, ok := s.connections[c]; !ok {
		return
	}
	delete(s.connections, c)
	if s.perAddress[c.address]--; s.perAddress[c.address] <= 0 {
		delete(s.perAddress, c.address)
	}
	if !c.identified.Load() {
		s.handshaking--
	}
}
