package sshd

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// Identity is what a client has proven to be: the holder of a key, alone or with a certificate for it.
type Identity struct {
	fingerprint string             // of the key
	certificate *gossh.Certificate // nil where the key stands for itself
}

// IdentityOf returns who holds a key.
func IdentityOf(key gossh.PublicKey) Identity {
	if c, ok := key.(*gossh.Certificate); ok {
		return Identity{gossh.FingerprintSHA256(c.Key), c}
	}
	return Identity{gossh.FingerprintSHA256(key), nil}
}

// String is how the log names it.
func (id Identity) String() string {
	if id.fingerprint == "" {
		return "-"
	}
	if c := id.certificate; c != nil {
		return fmt.Sprintf("%s certificate=%s serial=%d ca=%s", id.fingerprint, quoted(c.KeyId), c.Serial, gossh.FingerprintSHA256(c.SignatureKey))
	}
	return id.fingerprint
}

// identityKey is where the connection's permissions hold who has proven to be there.
type identityKey struct{}

// verifiedIdentity returns who the client has proven to be; the zero value where it has not.
func verifiedIdentity(p *gossh.Permissions) Identity {
	if p == nil {
		return Identity{}
	}
	id, _ := p.ExtraData[identityKey{}].(Identity)
	return id
}

// minRSA is how many bits an RSA key must have.
const minRSA = 2048

// CheckKey refuses keys that are too short, with an *app.Error.
func CheckKey(key gossh.PublicKey) error {
	if c, ok := key.(*gossh.Certificate); ok {
		key = c.Key
	}
	k, ok := key.(gossh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if r, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
		return app.Errorf(app.CodeForbidden, "make a new one: ssh-keygen -t ed25519", "the RSA key %s has %d bits, fewer than %d",
			gossh.FingerprintSHA256(key), r.N.BitLen(), minRSA)
	}
	return nil
}

// identify returns the registered key that an identity stands for.
func (s *Server) identify(ctx context.Context, id Identity, remote net.Addr) (app.Key, error) {
	if id.certificate == nil {
		return s.opts.Handler.Identify(ctx, id.fingerprint)
	}
	if err := s.checkCertificate(id.certificate, remote); err != nil {
		return app.Key{}, err
	}
	return s.certified(ctx, id.certificate)
}

// sourceAddress is the one critical option that is understood (PROTOCOL.certkeys of OpenSSH).
const sourceAddress = "source-address"

// checkCertificate says whether a user certificate holds here and now: made by a CA of ours, with a sound signature, in its time, for
// where the client is, and without a condition that is not understood.
func (s *Server) checkCertificate(c *gossh.Certificate, remote net.Addr) error {
	refuse := func(next, format string, args ...any) error {
		return app.Errorf(app.CodeForbidden, next, "the certificate %s %s", quoted(c.KeyId), fmt.Sprintf(format, args...))
	}
	ca := c.SignatureKey.Marshal()
	if !slices.ContainsFunc(s.opts.UserCAs, func(k gossh.PublicKey) bool { return bytes.Equal(k.Marshal(), ca) }) {
		return refuse("use a certificate of the CA that the operator has configured", "is signed by a CA that is not trusted here: %s", gossh.FingerprintSHA256(c.SignatureKey))
	}
	if c.CertType != gossh.UserCert {
		return refuse("sign one for users: ssh-keygen -s CA -I ID -n NAME key.pub", "is not one for users")
	}
	if !slices.Contains(KeyAlgorithms, c.Signature.Format) {
		return refuse("sign it with rsa-sha2-512 or an ed25519 CA", "is signed with %s, which is not accepted", quoted(c.Signature.Format))
	}
	check := gossh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}, Clock: s.opts.now}
	principal := ""
	if len(c.ValidPrincipals) > 0 {
		principal = c.ValidPrincipals[0] // which of them counts is certified's business
	}
	if err := check.CheckCert(principal, c); err != nil {
		return refuse("ask for a new one", "does not hold: %s", plain(strings.TrimPrefix(err.Error(), "ssh: "), 200))
	}
	if list, ok := c.CriticalOptions[sourceAddress]; ok && !within(remote, list) {
		return refuse("connect from where it holds", "does not hold for connections from %s", remote)
	}
	return nil
}

// within says whether an address is in a list of addresses and networks. What cannot be read matches nothing.
func within(remote net.Addr, list string) bool {
	if remote == nil {
		return false
	}
	p, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return false
	}
	addr := p.Addr().Unmap().WithZone("")
	for entry := range strings.SplitSeq(list, ",") {
		if a, err := netip.ParseAddr(entry); err == nil && a.Unmap() == addr {
			return true
		}
		if n, err := netip.ParsePrefix(entry); err == nil && n.Contains(addr) {
			return true
		}
	}
	return false
}

// maxPrincipals is how many names of a certificate are looked up.
const maxPrincipals = 16

// certified returns the registered key that a certificate names: the one of its principals that is the name of one. The CA vouches that
// the certificate's holder is that user; rights are those of the registered key, and go when it is removed. A certificate that
// names no principal, which OpenSSH's tools take for "everybody", and one that names several keys are refused.
func (s *Server) certified(ctx context.Context, c *gossh.Certificate) (app.Key, error) {
	var found []app.Key
	for i, name := range c.ValidPrincipals {
		if i == maxPrincipals {
			return app.Key{}, app.Errorf(app.CodeForbidden, "name the one key that it is for: ssh-keygen -s CA -I ID -n NAME key.pub",
				"the certificate %s names more than %d principals", quoted(c.KeyId), maxPrincipals)
		}
		if slices.Contains(c.ValidPrincipals[:i], name) {
			continue
		}
		key, err := s.opts.KeyByName(ctx, name)
		if app.CodeOf(err) == app.CodeNotFound {
			continue
		}
		if err != nil {
			return app.Key{}, err
		}
		found = append(found, key)
	}
	names := plain(strings.Join(c.ValidPrincipals, ", "), 200)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return app.Key{}, app.Errorf(app.CodeForbidden, "sign one for a single name: ssh-keygen -s CA -I ID -n NAME key.pub",
			"the certificate %s names several registered keys: %s", quoted(c.KeyId), names)
	case len(c.ValidPrincipals) == 0:
		return app.Key{}, app.Errorf(app.CodeForbidden, "name the registered key that it is for: ssh-keygen -s CA -I ID -n NAME key.pub",
			"the certificate %s names no principal", quoted(c.KeyId))
	}
	return app.Key{}, app.Errorf(app.CodeNotFound, "ask the operator to run: gitd keys add NAME", "no key is registered with the name that the certificate %s is for: %s",
		quoted(c.KeyId), names)
}
