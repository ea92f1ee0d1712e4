package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gitd-io/gitd/internal/disk"
)

// Key is a short name for inputs: plain values, the same for the same.
func Key(inputs ...any) string {
	b, err := json.Marshal(inputs)
	if err != nil {
		panic(err) // only plain values come here
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:10])
}

const digestPrefix = "digest-"

// DigestOf returns the SHA-256 of a file. It is remembered for as long as the file is the same, so that a start is quick.
func (c *Cache) DigestOf(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	st := info.Sys().(*syscall.Stat_t)
	identity := fmt.Sprintf("%d:%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	memory := filepath.Join(c.Dir, digestPrefix+Key(file))
	var known struct{ Identity, Digest string }
	if b, err := os.ReadFile(memory); err == nil && json.Unmarshal(b, &known) == nil && known.Identity == identity {
		Touch(memory)
		return known.Digest, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	known.Identity, known.Digest = identity, hex.EncodeToString(h.Sum(nil))
	if b, err := json.Marshal(known); err == nil {
		_ = disk.ReplaceBytes(memory, 0o600, b) // only a memory: a failure costs time, no more
	}
	return known.Digest, nil
}
