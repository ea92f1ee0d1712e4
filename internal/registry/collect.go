package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/disk"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Collect removes all manifests that keep does not name (repository → digests) and the blobs that nothing needs any more.
// What is younger than an hour or held stays. So does the build cache of an app that keep names, and of our own repositories what a
// process has added in the last week, or has tagged "latest". It returns the bytes freed. It is safe beside pushes that are under way:
// each step of theirs waits for it, or it for them, and what they asked for is young.
func (r *Registry) Collect(ctx context.Context, keep map[string][]string) (int64, error) {
	r.collecting.Lock()
	defer r.collecting.Unlock()
	c := &collection{Registry: r, ctx: ctx, keep: map[held]bool{}, marked: map[string]bool{}, cached: map[string]bool{}}
	for repository, digests := range keep {
		c.cached[repository+CacheSuffix] = len(digests) > 0
		for _, d := range digests {
			c.keep[held{repository, d}] = true
		}
	}
	r.mu.Lock()
	for h := range r.held {
		c.keep[h] = true
	}
	r.mu.Unlock()
	names, err := r.list()
	if err != nil {
		return 0, err
	}
	for _, name := range names { // all marks first: blobs are shared between repositories
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		if err := c.repository(name); err != nil {
			return 0, err
		}
	}
	return c.sweep()
}

// DeleteRepository forgets all images of a repository at once; the next Collect removes the blobs.
func (r *Registry) DeleteRepository(repository string) error {
	dir, err := r.repository(repository)
	if err != nil {
		return err
	}
	r.collecting.Lock()
	defer r.collecting.Unlock()
	return r.remove(dir)
}

func (r *Registry) remove(dir string) error {
	for _, d := range []string{"_manifests", "_layers", "_uploads"} {
		if err := disk.RemoveAll(filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	for ; dir != r.repositories() && os.Remove(dir) == nil; dir = filepath.Dir(dir) { // stops at what is not empty
	}
	return nil
}

// list returns the names of all repositories on the disk.
func (r *Registry) list() ([]string, error) {
	var names []string
	err := filepath.WalkDir(r.repositories(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() || !strings.HasPrefix(d.Name(), "_") {
			return nil
		}
		name, err := filepath.Rel(r.repositories(), filepath.Dir(path))
		if err != nil {
			return err
		}
		names = append(names, filepath.ToSlash(name))
		return fs.SkipDir
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

type collection struct {
	*Registry
	ctx    context.Context
	keep   map[held]bool
	cached map[string]bool // repositories of build caches that are in use
	marked map[string]bool // blobs in use, by their hexadecimal digest
}

func (c *collection) young(path string) bool { return c.age(path) < grace }

// age is the time since a file was written; very long where it is not there.
func (c *collection) age(path string) time.Duration {
	info, err := os.Lstat(path)
	if err != nil {
		return 1<<63 - 1
	}
	return c.now().Sub(info.ModTime())
}

// stays says whether a manifest is needed; tags are those of its repository.
func (c *collection) stays(name, digest, link string, tags map[string]string) bool {
	switch {
	case c.keep[held{name, digest}], c.young(link):
		return true
	case strings.HasPrefix(name, System):
		return tags["latest"] == digest || c.age(link) < systemGrace
	case c.cached[name]:
		return tags["latest"] == digest
	}
	return false
}

// repository removes what a repository does not need, and marks the blobs that it does.
func (c *collection) repository(name string) error {
	dir, err := c.Registry.repository(name)
	if err != nil {
		return nil // not one of ours: leave it alone
	}
	tags, err := c.Tags(name)
	if err != nil {
		return err
	}
	marked := map[string]bool{} // of this repository
	gone := map[string]bool{}
	revisions, err := entries(filepath.Join(dir, "_manifests/revisions/sha256"))
	if err != nil {
		return err
	}
	for _, hexDigest := range revisions {
		digest, link := "sha256:"+hexDigest, revisionLink(dir, hexDigest)
		if !c.stays(name, digest, link, tags) {
			gone[digest] = true
			continue
		}
		c.mark(marked, hexDigest, 0)
	}
	for digest := range gone {
		if err := disk.RemoveAll(filepath.Dir(revisionLink(dir, digest[len("sha256:"):]))); err != nil {
			return err
		}
	}
	for tag, digest := range tags {
		if gone[digest] {
			if err := disk.RemoveAll(tagDir(dir, tag)); err != nil {
				return err
			}
			continue
		}
		index := filepath.Join(tagDir(dir, tag), "index/sha256")
		old, err := entries(index)
		if err != nil {
			return err
		}
		for _, hexDigest := range old {
			if gone["sha256:"+hexDigest] {
				if err := disk.RemoveAll(filepath.Join(index, hexDigest)); err != nil {
					return err
				}
			}
		}
	}
	layers, err := entries(filepath.Join(dir, "_layers/sha256"))
	if err != nil {
		return err
	}
	for _, hexDigest := range layers {
		if link := layerLink(dir, hexDigest); !marked[hexDigest] && !c.young(link) {
			if err := disk.RemoveAll(filepath.Dir(link)); err != nil {
				return err
			}
		}
	}
	uploads, err := entries(filepath.Join(dir, "_uploads"))
	if err != nil {
		return err
	}
	for _, id := range uploads {
		if upload := filepath.Join(dir, "_uploads", id); !c.young(upload) && !c.young(filepath.Join(upload, "data")) {
			if err := disk.RemoveAll(upload); err != nil {
				return err
			}
		}
	}
	for hexDigest := range marked {
		c.marked[hexDigest] = true
	}
	for _, d := range []string{"_manifests/revisions/sha256", "_layers/sha256", "_uploads"} {
		if left, err := entries(filepath.Join(dir, d)); err != nil || len(left) > 0 {
			return err
		}
	}
	return c.remove(dir)
}

// mark marks a manifest and what it refers to. A manifest that cannot be read marks itself only: whoever asks for the image
// is told what is missing.
func (c *collection) mark(marked map[string]bool, hexDigest string, depth int) {
	if marked[hexDigest] || depth > 4 {
		return
	}
	marked[hexDigest] = true
	raw, err := c.readBlob(hexDigest)
	if err != nil {
		return
	}
	var m struct {
		Config    v1.Descriptor
		Layers    []v1.Descriptor
		Manifests []v1.Descriptor
	}
	if json.NewDecoder(bytes.NewReader(raw)).Decode(&m) != nil {
		return
	}
	for _, d := range append(m.Layers, m.Config) {
		marked[d.Digest.Hex] = true
	}
	for _, d := range m.Manifests {
		c.mark(marked, d.Digest.Hex, depth+1)
	}
}

// sweep removes the blobs that no repository marked.
func (c *collection) sweep() (freed int64, err error) {
	blobs := filepath.Join(c.root(), "blobs/sha256")
	prefixes, err := entries(blobs)
	if err != nil {
		return 0, err
	}
	for _, prefix := range prefixes {
		if err := context.Cause(c.ctx); err != nil {
			return freed, err
		}
		names, err := entries(filepath.Join(blobs, prefix))
		if err != nil {
			return freed, err
		}
		for _, hexDigest := range names {
			data := filepath.Join(blobs, prefix, hexDigest, "data")
			if c.marked[hexDigest] || c.young(data) {
				continue
			}
			if info, err := os.Lstat(data); err == nil {
				if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Nlink == 1 { // a link elsewhere keeps the bytes
					freed += info.Size()
				}
			} else if c.young(filepath.Dir(data)) {
				continue
			}
			if err := disk.RemoveAll(filepath.Dir(data)); err != nil {
				return freed, err
			}
		}
		_ = os.Remove(filepath.Join(blobs, prefix)) // stays where it is not empty
	}
	return freed, nil
}

// entries returns the names in a directory; none where there is no directory.
func entries(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}
