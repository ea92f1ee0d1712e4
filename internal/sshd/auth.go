package sshd

import (
	"fmt"
	"net"
	"sync"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// offered is asked for every key that a client offers, most of which it may not even hold. It decides nothing but whether the
// client may go on to prove that it holds the key. A key that is not registered is named in a banner, since all
// that ssh says by itself is "Permission denied (publickey)".
func (s *Server) offered(ctx ssh.Context, key ssh.PublicKey) bool {
	c, _ := ctx.Value(connKey).(*connection)
	if c == nil {
		return false
	}
	c.tried.Store(true)
	id := IdentityOf(key)
	err := CheckKey(key)
	if err == nil {
		if _, err = s.identify(ctx, id, ctx.RemoteAddr()); err == nil {
			c.promising.Store(true)
			return true
		}
	}
	label := id.fingerprint
	if id.certificate != nil {
		label += "(certificate)"
	}
	if !c.addUnknown(label) {
		return false
	}
	if id.certificate != nil && len(s.opts.UserCAs) == 0 {
		return false // ssh offers the certificate of a key before the key: the key may do
	}
	message, next := app.Explain(err)
	switch code := app.CodeOf(err); {
	case code == app.CodeNotFound && id.certificate == nil:
		message, next = fmt.Sprintf("no key with fingerprint %s is registered: ask the operator to run: gitd keys add NAME", id.fingerprint), ""
	case code != app.CodeNotFound && code != app.CodeForbidden:
		s.opts.Log("ssh %s: looking up key %s: %v", ctx.RemoteAddr(), label, err)
		c.banner(message, next)
		return false
	}
	if !s.companions.known(label) {
		c.banner(message, next)
	}
	return false
}

// banner shows a message to who is not authenticated yet.
func (c *connection) banner(message, next string) {
	c.mu.Lock()
	p := c.preAuth
	c.mu.Unlock()
	if p == nil {
		return
	}
	text := "gitd: " + message + "\n"
	if next != "" {
		text += "gitd: " + next + "\n"
	}
	_ = p.SendAuthBanner(text)
}

// verified is called once a client has proven that it holds the key: here, and only here, it gets its identity.
func (s *Server) verified(c *connection) func(gossh.ConnMetadata, gossh.PublicKey, *gossh.Permissions, string) (*gossh.Permissions, error) {
	return func(conn gossh.ConnMetadata, public gossh.PublicKey, _ *gossh.Permissions, _ string) (*gossh.Permissions, error) {
		if c == nil {
			return nil, net.ErrClosed
		}
		id := IdentityOf(public)
		err := CheckKey(public)
		if err != nil {
			return nil, err
		}
		key, err := s.identify(s.base, id, conn.RemoteAddr()) // for the key that was proven, whatever was offered before
		if err != nil {
			return nil, err
		}
		if !c.authenticated(id, key) {
			return nil, net.ErrClosed
		}
		s.backoff.succeeded(c.address, s.opts.now())
		s.opts.Metrics.Authentications.Inc("ok")
		s.companions.add(c.unknownKeys())
		p := &gossh.Permissions{ExtraData: map[any]any{identityKey{}: id}}
		if id.certificate != nil {
			p.CriticalOptions = id.certificate.CriticalOptions // x/crypto enforces source-address once more
		}
		return p, nil
	}
}

// companionKeys are keys that clients offer before the one that lets them in, as an agent with several keys does: a message
// about them with every push would only disturb.
type companionKeys struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

const maxCompanions = 4096

func (k *companionKeys) known(fingerprint string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.keys[fingerprint]
	return ok
}

func (k *companionKeys) add(fingerprints []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range fingerprints {
		if k.keys == nil {
			k.keys = map[string]struct{}{}
		}
		if len(k.keys) < maxCompanions {
			k.keys[f] = struct{}{}
		}
	}
}
