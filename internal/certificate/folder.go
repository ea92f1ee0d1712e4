package certificate

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/disk"
)

// Folder keeps certificates, one file a name: the chain and the key. Only root can read them.
type Folder string

const (
	extension = ".pem"
	titled    = "name: " // the first line, which is not PEM, has the name
	longest   = 200      // bytes of a name that a file can have
)

// file is where a name's certificate is. A name of the DNS has no character that a path gives a meaning.
func (f Folder) file(name string) string {
	short := strings.Replace(name, "*", "_", 1)
	if len(short) > longest {
		short = fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	}
	return filepath.Join(string(f), short+extension)
}

// Load reads all, by name. One that cannot be read is reported and left out.
func (f Folder) Load(log func(format string, args ...any)) (map[string]*Pair, error) {
	all := map[string]*Pair{}
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	} else if err != nil {
		return all, err
	}
	if err := disk.RemoveTemporary(string(f)); err != nil {
		log("certificates: %v", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), extension) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(string(f), e.Name()))
		if err != nil {
			log("certificates: %v", err)
			continue
		}
		p, err := Parse(b, nil)
		if err != nil {
			log("certificates: %s is left out: %v", e.Name(), err)
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if name, ok := strings.CutPrefix(line, titled); ok {
			all[name] = p
		}
	}
	return all, nil
}

// Save keeps the certificate of a name: it is on the disk when it returns.
func (f Folder) Save(name string, p *Pair) error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	return disk.ReplaceBytes(f.file(name), 0o600, slices.Concat([]byte(titled+name+"\n"), p.Chain, p.Key))
}

// Remove forgets the certificate of a name, if there is one.
func (f Folder) Remove(name string) error {
	if err := os.Remove(f.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
