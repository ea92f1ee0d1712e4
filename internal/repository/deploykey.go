package repository

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Files of a repository for fetching private submodules.
const (
	deployKeyFile  = "deploy_key"  // private, in OpenSSH's form
	knownHostsFile = "known_hosts" // what the hosts of submodules showed when they were first seen
)

// forgetHosts is Folder.ForgetHosts.
func (r *Repository) forgetHosts() error {
	err := os.Remove(filepath.Join(r.path, knownHostsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// deployKey is Folder.DeployKey.
func (r *Repository) deployKey(renew bool) (public string, err error) {
	if err := r.Ensure(); err != nil {
		return "", err
	}
	r.files.Lock()
	defer r.files.Unlock()
	file := filepath.Join(r.path, deployKeyFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && renew {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", err
		}
		block, err := gossh.MarshalPrivateKey(private, "gitd:"+r.name)
		if err != nil {
			return "", err
		}
		text = pem.EncodeToMemory(block)
		if err := replaceSyncedMode(file, string(text), 0o600); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	signer, err := gossh.ParsePrivateKey(text)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey()))) + " gitd:" + r.name, nil
}
