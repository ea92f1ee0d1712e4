package receive

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

	"github.com/gitd-io/gitd/internal/app"
)

// Files of a repository for fetching private submodules.
const (
	deployKeyFile  = "deploy_key"  // private, in OpenSSH's form
	knownHostsFile = "known_hosts" // what the hosts of submodules showed when they were first seen
)

// DeployKey returns the public part, in authorized_keys form, of the key that the app's submodules are fetched with over SSH. It is made
// when it is first asked for, and anew where renew is set. The app must exist: its owner is whose key it is.
func (s *Server) DeployKey(name string, renew bool) (public string, err error) {
	name, err = app.ParseName(name)
	if err != nil {
		return "", err
	}
	return s.store.deployKey(name, renew)
}

// ForgetHosts forgets the host keys of the app's submodules: what is shown next is believed, once.
func (s *Server) ForgetHosts(name string) error {
	name, err := app.ParseName(name)
	if err != nil {
		return err
	}
	err = os.Remove(filepath.Join(s.store.path(name), knownHostsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *store) deployKey(name string, renew bool) (public string, err error) {
	if err := s.ensure(name); err != nil {
		return "", err
	}
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	file := filepath.Join(s.path(name), deployKeyFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && renew {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", err
		}
		block, err := gossh.MarshalPrivateKey(private, "gitd:"+name)
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
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey()))) + " gitd:" + name, nil
}
