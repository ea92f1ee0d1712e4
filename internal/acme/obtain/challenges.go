package obtain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/gitd-io/gitd/internal/acme/wire"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// storage is certmagic's on the disk. certmagic writes a challenge there for the process that answers it: that is gitd, which is told instead.
type storage struct {
	*certmagic.FileStorage
	p *program
}

const challenges = "/challenge_tokens/"

// Store implements certmagic.Storage.
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	if !strings.Contains(key, challenges) {
		return s.FileStorage.Store(ctx, key, value)
	}
	var c acme.Challenge
	if err := json.Unmarshal(value, &c); err != nil {
		return err
	}
	told := wire.Challenge{Type: c.Type, Name: c.Identifier.Value, Token: c.Token, Text: c.KeyAuthorization}
	if c.Type == acme.ChallengeTypeTLSALPN01 {
		proof, err := acmez.TLSALPN01ChallengeCert(c)
		if err != nil {
			return err
		}
		if told.Text, err = inPEM(proof); err != nil {
			return err
		}
	}
	s.p.mu.Lock()
	s.p.shown[key] = told
	s.p.mu.Unlock()
	return s.p.answer(ctx, told)
}

// Delete implements certmagic.Storage.
func (s *storage) Delete(ctx context.Context, key string) error {
	if !strings.Contains(key, challenges) {
		return s.FileStorage.Delete(ctx, key)
	}
	s.p.mu.Lock()
	told, ok := s.p.shown[key]
	delete(s.p.shown, key)
	s.p.mu.Unlock()
	if !ok {
		return nil
	}
	told.Text, told.End = "", true
	return s.p.answer(ctx, told)
}

// inPEM is a certificate and its key.
func inPEM(c *tls.Certificate) (string, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", fmt.Errorf("write a key: %w", err)
	}
	var b strings.Builder
	for _, der := range c.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return b.String(), nil
}

// records solves challenges by records of the DNS, which gitd answers.
type records struct{ p *program }

// Present implements acmez.Solver.
func (r *records) Present(ctx context.Context, c acme.Challenge) error {
	return r.p.answer(ctx, wire.Challenge{Type: wire.DNS, Name: c.DNS01TXTRecordName(), Text: c.DNS01KeyAuthorization()})
}

// CleanUp implements acmez.Solver.
func (r *records) CleanUp(ctx context.Context, c acme.Challenge) error {
	return r.p.answer(ctx, wire.Challenge{Type: wire.DNS, Name: c.DNS01TXTRecordName(), Text: c.DNS01KeyAuthorization(), End: true})
}
