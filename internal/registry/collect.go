package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/pattern"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Needed returns the digests of a repository's images that are needed. It is asked right before the repository is looked through.
type Needed func(repository string) (digests []string, err error)

// Collect removes all unneeded manifests and unreferenced blobs. What is younger than an hour, or than since, or is
// held, stays. So does the build cache of an app that needs images, and of our own repositories what a process has added in the last week, or has
// tagged "latest". It returns the bytes freed.
//
// It delays nothing: the lock is held for one repository, or a part of the blobs, at a time. It is safe beside pushes under way, since
// a push that refers to a blob makes it young first, and its age is looked at again right before it is removed.
func (r *Registry) Collect(ctx context.Context, needed Needed, since time.Time) (int64, error) {
	c := &collection{Registry: r, ctx: ctx, needed: needed, since: since, marked: map[string]bool{}, tidy: true}
	names, err := r.list()
	if err != nil {
		return 0, err
	}
	for _, name := range names { // all marks first: blobs are shared between repositories
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		if err := c.look(name); err != nil {
			return 0, err
		}
	}
	return c.sweep()
}

// CollectRepository does that for one repository and its build cache, but leaves the blobs to the next Collect: what it costs does not depend on what
// else is in the registry.
func (r *Registry) CollectRepository(ctx context.Context, repository string, digests []string, since time.Time) error {
	c := &collection{Registry: r, ctx: ctx, since: since, marked: map[string]bool{}, needed: func(string) ([]string, error) { return digests, nil }}
	for _, name := range []string{repository, repository + CacheSuffix} {
		dir, err := r.repository(name)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := c.look(name); err != nil {
			return err
		}
	}
	return nil
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
	needed Needed
	since  time.Time
	marked map[string]bool // blobs in use, by their hexadecimal digest
	tidy   bool            // remove the temporary files of a process that was killed as well
}

// young says whether a file was written, or asked for, so short a time ago that something may be about to refer to it.
func (c *collection) young(path string) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	t := info.ModTime()
	return c.now().Sub(t) < grace || !c.since.IsZero() && !t.Before(c.since)
}

// dead says whether a file of something under way is of no use any more: it is old, or what was under way ended with an earlier process.
func (c *collection) dead(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && (info.ModTime().Before(c.opened) || !c.young(path))
}

// look looks through one repository.
func (c *collection) look(name string) error {
	dir, err := c.Registry.repository(name)
	if err != nil {
		return nil // not one of ours: leave it alone
	}
	digests, err := c.needed(strings.TrimSuffix(name, CacheSuffix))
	if err != nil {
		return err
	}
	c.collecting.Lock()
	defer c.collecting.Unlock()
	if err := c.repository(name, dir, digests); err != nil {
		return err
	}
	if c.tidy {
		return c.removeTemporary(dir)
	}
	return nil
}

// repository removes what a repository does not need, and marks the blobs that it does.
func (c *collection) repository(name, dir string, digests []string) error {
	tags, err := c.Tags(name)
	if err != nil {
		return err
	}
	stay, gone, err := c.divide(name, dir, digests, tags)
	if err != nil {
		return err
	}
	marked := map[string]bool{} // of this repository
	for hexDigest := range stay {
		c.mark(marked, hexDigest, 0)
	}
	for hexDigest := range gone {
		if err := disk.RemoveAll(filepath.Dir(revisionLink(dir, hexDigest))); err != nil {
			return err
		}
	}
	if err := c.removeTags(dir, tags, gone); err != nil {
		return err
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
	if err := c.removeUploads(dir); err != nil {
		return err
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

// divide says which of a repository's manifests stay and which go, by their hexadecimal digests.
func (c *collection) divide(name, dir string, digests []string, tags map[string]string) (stay, gone map[string]bool, err error) {
	revisions, err := entries(filepath.Join(dir, "_manifests/revisions/sha256"))
	if err != nil {
		return nil, nil, err
	}
	stay, gone = map[string]bool{}, map[string]bool{}
	for _, hexDigest := range revisions {
		if c.stays(name, "sha256:"+hexDigest, revisionLink(dir, hexDigest), digests, tags) {
			stay[hexDigest] = true
		} else {
			gone[hexDigest] = true
		}
	}
	for tag, digest := range tags { // signatures of what stays
		if of := referrerTag.FindStringSubmatch(tag); of != nil && stay[of[1]] && gone[digest[len("sha256:"):]] {
			stay[digest[len("sha256:"):]] = true
		}
	}
	for _, hexDigest := range slices.Collect(maps.Keys(stay)) { // what an index names
		c.eachChild(hexDigest, 0, func(child string) { stay[child] = true })
	}
	for hexDigest := range stay {
		delete(gone, hexDigest)
	}
	return stay, gone, nil
}

// referrerTag is how clients tag what refers to an image where a registry has no API for that: signatures, SBOMs.
var referrerTag = pattern.New(`^sha256-([0-9a-f]{64})(?:\.[a-z]+)?$`)

// stays says whether a manifest is needed for itself; tags are those of its repository.
func (c *collection) stays(name, digest, link string, digests []string, tags map[string]string) bool {
	switch {
	case c.young(link), c.holds(name, digest):
		return true
	case strings.HasPrefix(name, System):
		info, err := os.Lstat(link)
		return tags["latest"] == digest || err == nil && c.now().Sub(info.ModTime()) < systemGrace
	case strings.HasSuffix(name, CacheSuffix):
		return len(digests) > 0 && tags["latest"] == digest
	}
	return slices.Contains(digests, digest)
}

func (r *Registry) holds(repository, digest string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[held{repository, digest}] > 0
}

// removeTags removes the tags of manifests that go.
func (c *collection) removeTags(dir string, tags map[string]string, gone map[string]bool) error {
	for tag, digest := range tags {
		if gone[digest[len("sha256:"):]] {
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
			if gone[hexDigest] {
				if err := disk.RemoveAll(filepath.Join(index, hexDigest)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeUploads removes the uploads that cannot be finished any more.
func (c *collection) removeUploads(dir string) error {
	uploads, err := entries(filepath.Join(dir, "_uploads"))
	if err != nil {
		return err
	}
	for _, id := range uploads {
		upload := filepath.Join(dir, "_uploads", id)
		data := filepath.Join(upload, "data")
		if _, err := os.Lstat(data); err != nil {
			data = upload
		}
		if c.dead(data) {
			if err := disk.RemoveAll(upload); err != nil {
				return err
			}
		}
	}
	return nil
}

// tidyUp removes the uploads that ended with an earlier process, once after a start.
func (r *Registry) tidyUp() {
	names, err := r.list()
	if err != nil {
		return // Collect tells
	}
	c := &collection{Registry: r}
	for _, name := range names {
		if r.closing.Load() {
			return
		}
		if dir, err := r.repository(name); err == nil {
			r.collecting.Lock()
			_ = c.removeUploads(dir) // Collect tries again
			r.collecting.Unlock()
		}
	}
}

// removeTemporary removes the files that a process was writing when it was killed: ours, and those of distribution's driver.
func (c *collection) removeTemporary(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && path != dir && !strings.HasPrefix(d.Name(), "_") && filepath.Dir(path) == dir:
			return fs.SkipDir // another repository
		case d.IsDir() && d.Name() == "_uploads":
			return fs.SkipDir
		case d.Type().IsRegular() && temporary(d.Name()) && c.dead(path):
			return os.Remove(path)
		}
		return nil
	})
}

func temporary(name string) bool {
	return strings.HasPrefix(name, ".new-") || strings.HasSuffix(name, ".tmp")
}

// references are what a manifest, or an index of manifests, refers to.
type references struct {
	Config    v1.Descriptor
	Layers    []v1.Descriptor
	Manifests []v1.Descriptor
	Subject   *v1.Descriptor
}

func (r *Registry) references(hexDigest string) (refs references) {
	if raw, err := r.readBlob(hexDigest); err == nil {
		_ = json.Unmarshal(raw, &refs) // a request for the image is told what is wrong with it
	}
	return refs
}

// maxDepth is how deep an index may lie in others.
const maxDepth = 4

// eachChild names the manifests that an index names, and so on.
func (r *Registry) eachChild(hexDigest string, depth int, do func(child string)) {
	if depth == maxDepth {
		return
	}
	for _, d := range r.references(hexDigest).Manifests {
		do(d.Digest.Hex)
		r.eachChild(d.Digest.Hex, depth+1, do)
	}
}

// mark marks a manifest and what it refers to. One that cannot be read marks itself only.
func (c *collection) mark(marked map[string]bool, hexDigest string, depth int) {
	if marked[hexDigest] || depth > maxDepth {
		return
	}
	marked[hexDigest] = true
	refs := c.references(hexDigest)
	for _, d := range append(refs.Layers, refs.Config) {
		marked[d.Digest.Hex] = true
	}
	for _, d := range refs.Manifests {
		c.mark(marked, d.Digest.Hex, depth+1)
	}
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
