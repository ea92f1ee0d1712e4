package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// How long certificates of an Authority hold. Clocks of machines differ: they hold from a little earlier on.
const (
	rootTime = 10 * 365 * 24 * time.Hour
	leafTime = 90 * 24 * time.Hour
	early    = time.Hour
)

// Authority issues certificates for closed networks. Clients that trust its root trust them.
type Authority struct {
	root *Pair
	now  func() time.Time
}

// authorityFile holds the root and its key.
const authorityFile = "ca" + extension

// OpenAuthority opens the authority of a folder, and makes it where there is none. now is the clock.
func OpenAuthority(dir string, now func() time.Time) (*Authority, error) {
	a := &Authority{now: now}
	file := filepath.Join(dir, authorityFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if a.root, err = a.makeRoot(); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return a, disk.ReplaceBytes(file, 0o600, slices.Concat(a.root.Chain, a.root.Key))
	} else if err != nil {
		return nil, err
	}
	if a.root, err = Parse(b, nil); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "bring it back from a backup; or remove it: a new authority is made then, which no client trusts yet", "the authority's file %s cannot be read: %w", file, err)
	}
	return a, nil
}

// Root returns the authority's own certificate, in PEM.
func (a *Authority) Root() []byte { return a.root.Chain }

// Certificate is Root as it is used.
func (a *Authority) Certificate() *x509.Certificate { return a.root.Leaf }

func (a *Authority) makeRoot() (*Pair, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "gitd"
	}
	now := a.now()
	t := &x509.Certificate{Subject: pkix.Name{Organization: []string{"gitd"}, CommonName: "gitd CA of " + host}, NotBefore: now.Add(-early), NotAfter: now.Add(rootTime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	return sign(t, t, nil)
}

// Issue makes a certificate for names.
func (a *Authority) Issue(names ...string) (*Pair, error) {
	now := a.now()
	t := &x509.Certificate{DNSNames: names, NotBefore: now.Add(-early), NotAfter: now.Add(leafTime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if a.root.Leaf.NotAfter.Before(t.NotAfter) {
		t.NotAfter = a.root.Leaf.NotAfter
	}
	return sign(t, a.root.Leaf, a.root.TLS.PrivateKey)
}

// sign makes a certificate with a new key; by itself where no other key is given.
func sign(t, by *x509.Certificate, with crypto.PrivateKey) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if with == nil {
		with = key
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by, key.Public(), with)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return Parse(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
