package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// maxKeyFile bounds the key file: a few keys of one line each.
const maxKeyFile = 64 << 10

// keys are those of the key file. The first one seals, all of them open: an operator who finds a lost key again adds its line.
type keys []*age.X25519Identity

// readKeys reads the key file; none where it does not exist.
func readKeys(file string) (keys, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	defer clear(b)
	var all keys
	for n, line := range bytes.Split(b, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		id, err := age.ParseX25519Identity(string(line))
		if err != nil { // the error must not repeat the line
			return nil, app.Errorf(app.CodeUnavailable, "put the file back from where it was kept", "the key file %s cannot be read: line %d is not a key of age", file, n+1)
		}
		all = append(all, id)
	}
	if len(all) == 0 {
		return nil, app.Errorf(app.CodeUnavailable, "put the file back from where it was kept; to begin with a new key, remove it", "the key file %s has no key", file)
	}
	return all, nil
}

// write replaces the key file.
func (k keys) write(file string, now time.Time) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# the key of the apps' configuration, written %s: keep a copy apart from the backups\n", now.UTC().Format(time.DateOnly))
	for _, id := range k {
		fmt.Fprintf(&b, "%s\n", id)
	}
	defer clear(b.Bytes())
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return disk.ReplaceBytes(file, 0o600, b.Bytes())
}

// recipient is the public part of the key that seals.
func (k keys) recipient() string { return k[0].Recipient().String() }

// opens says whether the key with this public part is among them.
func (k keys) opens(recipient string) bool {
	for _, id := range k {
		if id.Recipient().String() == recipient {
			return true
		}
	}
	return false
}

func (k keys) seal(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, k[0].Recipient())
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

func (k keys) open(sealed []byte) ([]byte, error) {
	ids := make([]age.Identity, len(k))
	for i := range k {
		ids[i] = k[i]
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), ids...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 2*maxTotal))
}

// digestKey is the key of digests. It follows from the key that seals.
func (k keys) digestKey() ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(strings.TrimSpace(k[0].String())), nil, "gitd: digests of configuration", 32)
}
