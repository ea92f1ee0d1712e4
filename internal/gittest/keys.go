package gittest

import (
	"context"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// Keys are the registered keys of a server, as its store would have them.
type Keys struct {
	mu   sync.Mutex
	keys map[string]app.Key // by fingerprint; guarded by mu
}

// Register registers a key.
func (k *Keys) Register(public gossh.PublicKey, key app.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key.Fingerprint = gossh.FingerprintSHA256(public)
	if k.keys == nil {
		k.keys = map[string]app.Key{}
	}
	k.keys[key.Fingerprint] = key
}

// Remove forgets the keys of this name.
func (k *Keys) Remove(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for f, key := range k.keys {
		if key.Name == name {
			delete(k.keys, f)
		}
	}
}

// Clear forgets all keys.
func (k *Keys) Clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.keys)
}

// Identify implements sshd.Handler.
func (k *Keys) Identify(_ context.Context, fingerprint string) (app.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.keys[fingerprint]; ok {
		return key, nil
	}
	return app.Key{}, app.Errorf(app.CodeNotFound, "gitd keys add NAME", "no key with fingerprint %s", fingerprint)
}

// ByName is sshd.Options.KeyByName.
func (k *Keys) ByName(_ context.Context, name string) (app.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if key.Name == name {
			return key, nil
		}
	}
	return app.Key{}, app.Errorf(app.CodeNotFound, "gitd keys add NAME", "no key is named %q", name)
}

// Confirm implements sshd.Handler for what concerns no app.
func (k *Keys) Confirm(_ context.Context, key app.Key, _ string, _ int64, _ app.Verb) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now, ok := k.keys[key.Fingerprint]; !ok || !now.Same(key) {
		return app.Errorf(app.CodeForbidden, "ask the operator", "the key %s was removed", key.Name)
	}
	return nil
}
