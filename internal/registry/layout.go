package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/pattern"
)

// The layout of distribution's filesystem driver, below the registry's directory:
//
//	docker/registry/v2/blobs/sha256/ab/abcd…/data
//	docker/registry/v2/repositories/NAME/_layers/sha256/abcd…/link                     blobs that the repository may read
//	docker/registry/v2/repositories/NAME/_manifests/revisions/sha256/abcd…/link
//	docker/registry/v2/repositories/NAME/_manifests/tags/TAG/current/link
//	docker/registry/v2/repositories/NAME/_manifests/tags/TAG/index/sha256/abcd…/link
//	docker/registry/v2/repositories/NAME/_uploads/UUID/
//
// A link is a file that holds a digest.

var (
	repositoryForm = pattern.New(`^[a-z0-9]+(?:[._-][a-z0-9]+|__[a-z0-9]+|-+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+|__[a-z0-9]+|-+[a-z0-9]+)*)*$`)
	tagForm        = pattern.New(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	digestForm     = pattern.New(`^sha256:[0-9a-f]{64}$`)
)

func (r *Registry) root() string { return filepath.Join(r.dir, "docker/registry/v2") }

func (r *Registry) repositories() string { return filepath.Join(r.root(), "repositories") }

func (r *Registry) repository(name string) (string, error) {
	if len(name) > 255 || !repositoryForm.MatchString(name) {
		return "", fmt.Errorf("registry: %q is not the name of a repository", name)
	}
	return filepath.Join(r.repositories(), filepath.FromSlash(name)), nil
}

// hexOf returns the hexadecimal part of a digest.
func hexOf(digest string) (string, error) {
	if !digestForm.MatchString(digest) {
		return "", fmt.Errorf("registry: %q is no sha256 digest", digest)
	}
	return digest[len("sha256:"):], nil
}

func (r *Registry) blob(hex string) string {
	return filepath.Join(r.root(), "blobs/sha256", hex[:2], hex, "data")
}

func layerLink(repository, hex string) string {
	return filepath.Join(repository, "_layers/sha256", hex, "link")
}

func revisionLink(repository, hex string) string {
	return filepath.Join(repository, "_manifests/revisions/sha256", hex, "link")
}

func tagDir(repository, tag string) string { return filepath.Join(repository, "_manifests/tags", tag) }

// readLink returns the digest that a link holds; "" where it holds no valid one.
func readLink(path string) string {
	b, err := os.ReadFile(path)
	if s := strings.TrimSpace(string(b)); err == nil && digestForm.MatchString(s) {
		return s
	}
	return ""
}

// touch makes a blob young again, so that Collect leaves it.
func (r *Registry) touch(digest string) {
	if hex, err := hexOf(digest); err == nil {
		now := r.now()
		_ = os.Chtimes(r.blob(hex), now, now)
	}
}

// writeFile puts a small file in place whole, on the disk, and with it the way to it.
func writeFile(path string, content []byte) error {
	return place(path, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	}, 0o644)
}

// place makes a file of what fill writes: under another name first (private until it is whole), synced, then renamed.
func place(path string, fill func(*os.File) error, mode os.FileMode) error {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return disk.Replace(path, mode, fill)
}

// makeDir makes a directory and those above it, and syncs the ones that it adds to.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return disk.Sync(filepath.Dir(dir))
}

// copyVerified writes src to f and checks that it is what digest and size say.
func copyVerified(f *os.File, src io.Reader, hexDigest string, size int64) error {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(src, size+1))
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); n != size || got != hexDigest {
		return fmt.Errorf("registry: a blob that should be sha256:%s, %d bytes, is sha256:%s, %d bytes", hexDigest, size, got, n)
	}
	return nil
}
