// Package certificate is certificates of names: as people give them, as they are kept in the data directory, and those of an authority of one's own.
package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// MaxSize bounds a certificate with its chain and its key, in bytes of PEM.
const MaxSize = 256 << 10

// Pair is a certificate with its chain, and its key.
type Pair struct {
	Chain, Key []byte // PEM
	TLS        *tls.Certificate
	Leaf       *x509.Certificate
}

// Parse reads a certificate and its key in PEM. key may be empty where chain has both. The errors are *app.Error with code CodeInvalidInput.
func Parse(chain, key []byte) (*Pair, error) {
	invalid := func(next, format string, args ...any) error {
		return app.Errorf(app.CodeInvalidInput, next, format, args...)
	}
	if len(chain)+len(key) > MaxSize {
		return nil, invalid("give the certificate and its chain alone", "the certificate has more than %s", app.Size(MaxSize))
	}
	p := &Pair{}
	for rest := append(append(bytes.Clone(chain), '\n'), key...); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		switch {
		case b.Type == "CERTIFICATE":
			p.Chain = append(p.Chain, pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})...)
		case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "":
			return nil, invalid("decrypt it first: openssl pkey -in FILE", "the key is encrypted")
		case strings.HasSuffix(b.Type, "PRIVATE KEY") && p.Key == nil:
			p.Key = pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})
		}
	}
	switch {
	case p.Chain == nil:
		return nil, invalid("give it in PEM, with its chain: the certificate of the name first", "there is no certificate")
	case p.Key == nil:
		return nil, invalid("give it in PEM: --key FILE, or in the same input as the certificate", "there is no key")
	}
	c, err := tls.X509KeyPair(p.Chain, p.Key)
	if err != nil && strings.Contains(err.Error(), "does not match") {
		return nil, invalid("give the key that the certificate was made with, and the certificate of the name first", "the key does not belong to the certificate")
	} else if err != nil {
		return nil, invalid("give both in PEM, as openssl writes them", "the certificate or its key cannot be read: %w", err)
	}
	p.TLS, p.Leaf = &c, c.Leaf
	return p, nil
}

// Covers says whether the certificate is for a name, which may begin with "*.".
func (p *Pair) Covers(name string) bool {
	if strings.HasPrefix(name, "*.") {
		for _, n := range p.Leaf.DNSNames {
			if strings.EqualFold(n, name) {
				return true
			}
		}
		return false
	}
	return p.Leaf.VerifyHostname(name) == nil
}

// Issuer is who issued it, for people.
func (p *Pair) Issuer() string {
	n := p.Leaf.Issuer
	if len(n.Organization) > 0 && n.Organization[0] != "" {
		if n.CommonName == "" || n.CommonName == n.Organization[0] {
			return n.Organization[0]
		}
		return n.Organization[0] + " (" + n.CommonName + ")"
	}
	return n.CommonName
}

// Due says whether a certificate should be renewed: less than a third of its time is left, or the clock was ahead when it was made.
func (p *Pair) Due(now time.Time) bool {
	return now.Before(p.Leaf.NotBefore) || now.After(p.Leaf.NotAfter.Add(-p.Leaf.NotAfter.Sub(p.Leaf.NotBefore)/3))
}
