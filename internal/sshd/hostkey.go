package sshd

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// hostKey reads the server's private key, and makes an ed25519 one if there is no file yet.
func hostKey(path string) (gossh.Signer, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeHostKey(path); err != nil {
			return nil, fmt.Errorf("making the host key: %w", err)
		}
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "let the user that runs gitd read it", "the host key %s cannot be read: %w", path, err)
	}
	s, err := gossh.ParsePrivateKey(b)
	if err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "restore "+path+" from a backup; without it clients refuse to connect",
			"the host key %s is damaged: %w", path, err)
	}
	if err := CheckKey(s.PublicKey()); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "make a new one: ssh-keygen -t ed25519 -f "+path, "the host key %s is too short: %w", path, err)
	}
	if m, ok := s.(gossh.MultiAlgorithmSigner); ok && s.PublicKey().Type() == gossh.KeyAlgoRSA {
		return gossh.NewSignerWithAlgorithms(m, []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256}) // and not SHA-1
	}
	return s, nil
}

// makeHostKey writes a new key so that a crash leaves either none or a whole one, and never replaces one.
func makeHostKey(path string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := gossh.MarshalPrivateKey(private, "gitd host key")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".host-key-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(block))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return disk.Sync(filepath.Dir(path))
}
