package receive

import (
	"fmt"
	"net"
	"sync"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// fingerprintExtension is where the connection's permissions hold who has proven to be there.
const fingerprintExtension = "gitd-fingerprint"

// offered is asked for every key that a client offers, most of which it may not even hold. It decides nothing but whether the
// client may go on to prove that it holds the key. A key that is not registered is named in a banner, since all
// that ssh says by itself is "Permission denied (publickey)".
func (s *Server) offered(ctx ssh.Context, key ssh.PublicKey) bool {
	c, _ := ctx.Value(connKey).(*connection)
	if c == nil {
		return false
	}
	fingerprint := gossh.FingerprintSHA256(key)
	_, err := s.opts.Handler.Identify(ctx, fingerprint)
	if err == nil {
		return true
	}
	if !c.addUnknown(fingerprint) {
		return false
	}
	if app.CodeOf(err) != app.NotFound {
		s.opts.Log("ssh %s: looking up key %s: %v", ctx.RemoteAddr(), fingerprint, err)
		message, next := app.Explain(err)
		_ = c.preAuth.SendAuthBanner(fmt.Sprintf("gitd: %s\ngitd: %s\n", message, next))
		return false
	}
	if !s.companions.known(fingerprint) {
		_ = c.preAuth.SendAuthBanner(fmt.Sprintf("gitd: no key with fingerprint %s is registered: ask the operator to run: gitd keys add NAME\n", fingerprint))
	}
	return false
}

// verified is called once a client has proven that it holds the key: here, and only here, it gets its identity.
func (s *Server) verified(c *connection) func(gossh.ConnMetadata, gossh.PublicKey, *gossh.Permissions, string) (*gossh.Permissions, error) {
	return func(_ gossh.ConnMetadata, key gossh.PublicKey, _ *gossh.Permissions, _ string) (*gossh.Permissions, error) {
		if c == nil {
			return nil, net.ErrClosed
		}
		s.companions.add(c.unknownKeys())
		c.authenticated()
		return &gossh.Permissions{Extensions: map[string]string{fingerprintExtension: gossh.FingerprintSHA256(key)}}, nil
	}
}

// verifiedFingerprint returns the fingerprint of the key that the client has proven to hold, or "".
func verifiedFingerprint(p *gossh.Permissions) string {
	if p == nil {
		return ""
	}
	return p.Extensions[fingerprintExtension]
}

// companionKeys are keys that clients offer before the one that lets them in, as an agent with several keys does: nobody wants
// to read about them with every push.
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
