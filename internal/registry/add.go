package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/disk"
)

// AddImage stores an image under repository:tag; blobs that are files (those of an OCI layout, or of another registry on
// disk) are linked where the file system allows, and copied otherwise. When it returns, the image outlives a power cut.
func (r *Registry) AddImage(ctx context.Context, repository, tag string, img v1.Image) error {
	dir, err := r.repository(repository)
	if err != nil {
		return err
	}
	if !tagForm.MatchString(tag) {
		return fmt.Errorf("registry: %q is not a tag", tag)
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	r.collecting.RLock()
	defer r.collecting.RUnlock()
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := r.addLayer(dir, l); err != nil {
			return err
		}
	}
	if err := r.addManifest(&disk.Batch{}, dir, tag, img); err != nil {
		return err
	}
	if strings.HasPrefix(repository, System) { // builds of this process rely on it, for as long as that lives
		r.Hold(repository, digest.String())
	}
	return nil
}

// addManifest stores the image's configuration and manifest, and what the batch has, and then sets the tag: a tag never names what is not there.
func (r *Registry) addManifest(b *disk.Batch, dir, tag string, img v1.Image) error {
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	name, err := img.ConfigName()
	if err != nil {
		return err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	defer b.Drop()
	if err := errors.Join(r.addBytes(b, name.Hex, config), r.addBytes(b, digest.Hex, manifest)); err != nil {
		return err
	}
	links := []string{layerLink(dir, name.Hex), revisionLink(dir, digest.Hex)}
	for i, of := range []string{name.String(), digest.String()} {
		if err := b.Add(links[i], 0o644, []byte(of)); err != nil {
			return err
		}
	}
	if err := b.Place(); err != nil {
		return err
	}
	for _, link := range []string{filepath.Join(tagDir(dir, tag), "index/sha256", digest.Hex, "link"), filepath.Join(tagDir(dir, tag), "current/link")} {
		if err := b.Add(link, 0o644, []byte(digest.String())); err != nil {
			return err
		}
	}
	return b.Place()
}

// addLayer stores a layer, and links it into the repository in dir.
func (r *Registry) addLayer(dir string, l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	hexDigest, err := hexOf(digest.String())
	if err != nil {
		return err
	}
	if !r.has(hexDigest, size) {
		content, err := l.Compressed()
		if err != nil {
			return err
		}
		defer content.Close()
		if err := r.addContent(hexDigest, size, content); err != nil {
			return fmt.Errorf("layer %s: %w", digest, err)
		}
	}
	return writeFile(layerLink(dir, hexDigest), []byte(digest.String()))
}

// has says whether a blob is there whole, and makes it young again.
func (r *Registry) has(hexDigest string, size int64) bool {
	info, err := os.Stat(r.blob(hexDigest))
	if err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return false
	}
	r.touch("sha256:" + hexDigest)
	return true
}

func (r *Registry) addContent(hexDigest string, size int64, content io.Reader) error {
	path := r.blob(hexDigest)
	if f, ok := content.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Size() == size {
			if err := makeDir(filepath.Dir(path)); err != nil {
				return err
			}
			_ = os.Remove(path) // has said no: what is there is not whole
			if err := os.Link(f.Name(), path); err == nil {
				r.touch("sha256:" + hexDigest)
				return disk.Sync(filepath.Dir(path))
			}
		}
	}
	return place(path, func(f *os.File) error { return copyVerified(f, content, hexDigest, size) }, 0o644)
}

// addBytes stores a blob when the batch is placed. One that is here is synced with it: who wrote it may not have come to that.
func (r *Registry) addBytes(b *disk.Batch, hexDigest string, content []byte) error {
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != hexDigest {
		return fmt.Errorf("registry: a blob that should be sha256:%s is sha256:%x", hexDigest, sum)
	}
	if r.has(hexDigest, int64(len(content))) {
		b.Sync(r.blob(hexDigest))
		return nil
	}
	return b.Add(r.blob(hexDigest), 0o644, content)
}

// PlaceBlob moves a file, whose digest the caller computed, into the repository. Where the blob is there already, the file
// is removed. It does not sync: PlaceImage and Sync do, once for an image.
func (r *Registry) PlaceBlob(repository, digest, file string) error {
	dir, err := r.repository(repository)
	if err != nil {
		return err
	}
	hexDigest, err := hexOf(digest)
	if err != nil {
		return err
	}
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("registry: %s is not a regular file", file)
	}
	r.collecting.RLock()
	defer r.collecting.RUnlock()
	if r.has(hexDigest, info.Size()) {
		if err := os.Remove(file); err != nil {
			return err
		}
	} else if err := r.moveBlob(hexDigest, file, info); err != nil {
		return err
	}
	link := layerLink(dir, hexDigest)
	if readLink(link) == digest {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	return os.WriteFile(link, []byte(digest), 0o644) // one that a crash leaves empty names nothing
}

func (r *Registry) moveBlob(hexDigest, file string, info os.FileInfo) error {
	path := r.blob(hexDigest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Lchown(file, 0, 0); err != nil && os.Geteuid() == 0 { // its previous owner must not be able to write to it any more
		return err
	}
	if err := os.Chmod(file, 0o644); err != nil {
		return err
	}
	err := os.Rename(file, path)
	if errors.Is(err, syscall.EXDEV) {
		err = place(path, func(f *os.File) error {
			src, err := os.Open(file)
			if err != nil {
				return err
			}
			defer src.Close()
			return copyVerified(f, src, hexDigest, info.Size())
		}, 0o644)
		if err == nil {
			err = os.Remove(file)
		}
	}
	if err == nil {
		r.touch("sha256:" + hexDigest)
	}
	return err
}

// Sync makes an image that was pushed outlive a power cut: call it before a release depends on the image. It returns
// ErrNotFound where a part is missing.
func (r *Registry) Sync(repository, digest string) error {
	img, err := r.Image(repository, digest)
	if err != nil {
		return err
	}
	dir, err := r.repository(repository)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	hexDigest, _ := hexOf(digest)
	paths := []string{r.blob(hexDigest), r.blob(m.Config.Digest.Hex), revisionLink(dir, hexDigest), layerLink(dir, m.Config.Digest.Hex)}
	for _, l := range m.Layers {
		paths = append(paths, r.blob(l.Digest.Hex), layerLink(dir, l.Digest.Hex))
	}
	dirs := map[string]bool{}
	for _, p := range paths {
		for d := filepath.Dir(p); len(d) > len(r.dir); d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	if err := disk.SyncAll(paths...); err != nil { // a link may be missing where the manifest came first
		return err
	}
	return disk.SyncAll(slices.Collect(maps.Keys(dirs))...)
}
