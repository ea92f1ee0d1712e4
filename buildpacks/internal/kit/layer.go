package kit

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

	"github.com/buildpacks/libcnb"
	"golang.org/x/sync/errgroup"
)

// keyName is the entry of a layer's metadata that says what the layer was made from.
const keyName = "key"

// Layer is a layer under construction. The buildpack fills it while it builds, and hands it to libcnb when all is done.
type Layer struct {
	libcnb.Layer
	oldKey string
}

// OpenLayer returns the layer with the metadata of the last build, if the platform restored it.
func OpenLayer(ctx libcnb.BuildContext, name string) (*Layer, error) {
	l, err := ctx.Layers.Layer(name)
	if err != nil {
		return nil, err
	}
	old, _ := l.Metadata[keyName].(string)
	return &Layer{Layer: l, oldKey: old}, nil
}

// Reuse tells whether the layer of the last build was made from key. It is for layers of launch only: their content stays in
// the registry, the metadata alone makes the exporter take it over. Content and environment must not be touched then.
func (l *Layer) Reuse(key string) (bool, error) {
	if l.oldKey != key {
		return false, nil
	}
	l.LayerTypes = libcnb.LayerTypes{Launch: true}
	return true, os.RemoveAll(l.Path)
}

// Keep tells whether the layer of the last build was made from key and is still good for these types: one that builds read, and that is cached, has
// its content, one of launch only is taken over by its metadata. Environments are to be set again where the content is there.
func (l *Layer) Keep(types libcnb.LayerTypes, key string) (bool, error) {
	if !types.Build && !types.Cache {
		return l.Reuse(key)
	}
	if l.oldKey != key || !types.Cache || !IsDir(l.Path) {
		return false, nil
	}
	l.LayerTypes = types
	return true, nil
}

// Renew is Reuse, and a layer that was not made from key is emptied, to be filled for launch. reused tells that there is nothing to fill.
func (l *Layer) Renew(key string) (reused bool, err error) {
	if reused, err = l.Reuse(key); err != nil || reused {
		return reused, err
	}
	return false, l.Reset(libcnb.LayerTypes{Launch: true}, key)
}

// SetLaunch sets defaults of variables of the processes that are launched.
func (l *Layer) SetLaunch(env map[string]string) {
	for name, value := range env {
		l.LaunchEnvironment.Default(name, value)
	}
}

// SetKey notes what the layer was made from, where that was not known before.
func (l *Layer) SetKey(key string) { l.Metadata[keyName] = key }

// Reset empties the layer and notes what it will be made from.
func (l *Layer) Reset(types libcnb.LayerTypes, key string) error {
	if err := os.RemoveAll(l.Path); err != nil {
		return err
	}
	l.LayerTypes = types
	l.Metadata = map[string]any{}
	if key != "" {
		l.Metadata[keyName] = key
	}
	return os.MkdirAll(l.Path, 0o755)
}

// Contribute implements libcnb.LayerContributor: the layer is filled already.
func (l *Layer) Contribute(libcnb.Layer) (libcnb.Layer, error) { return l.Layer, nil }

// Name implements libcnb.LayerContributor.
func (l *Layer) Name() string { return l.Layer.Name }

// Key digests what a layer is made from. Parts are delimited: ("ab", "c") and ("a", "bc") differ.
func Key(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// FileKey digests the content of a file.
func FileKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Cache is what outlives a build.
type Cache struct {
	mount  string // the platform's writable folder for this app; "" where it has none
	ctx    libcnb.BuildContext
	layers []libcnb.LayerContributor
}

// OpenCache returns the cache of the app: the folder that BP_CACHE_MOUNT names, else cached layers.
func OpenCache(ctx libcnb.BuildContext, env Env) *Cache {
	c := &Cache{ctx: ctx}
	if dir := env["BP_CACHE_MOUNT"]; dir != "" && writable(dir) {
		c.mount = dir
	}
	return c
}

// Dir returns a folder of the cache, made if need be.
func (c *Cache) Dir(name string) (string, error) {
	if c.mount != "" {
		dir := filepath.Join(c.mount, name)
		return dir, os.MkdirAll(dir, 0o755)
	}
	l, err := c.ctx.Layers.Layer("cache-" + name)
	if err != nil {
		return "", err
	}
	l.LayerTypes = libcnb.LayerTypes{Cache: true}
	c.layers = append(c.layers, &Layer{Layer: l})
	return l.Path, os.MkdirAll(l.Path, 0o755)
}

// Downloads returns a folder of the cache for what a tool downloaded and can fetch again. A cache that grows over its limit loses these first.
func (c *Cache) Downloads(name string) (string, error) {
	if c.mount == "" {
		return c.Dir(name)
	}
	dir := filepath.Join(c.mount, "downloads", name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	_ = os.Rename(filepath.Join(c.mount, name), dir) // where builds had it before
	return dir, os.MkdirAll(dir, 0o755)
}

// Layers returns the cached layers that stand in for a missing mount: hand them to libcnb.
func (c *Cache) Layers() []libcnb.LayerContributor { return c.layers }

func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

// WriteProgram writes a script, with the folder that it is in.
func WriteProgram(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o755)
}

// CopyFile copies a regular file with its permissions. The folder of to is made if need be.
func CopyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return copyFile(from, to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fi.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// copiers are how many files are copied at a time: packages are tens of thousands of small ones.
const copiers = 8

// CopyTree copies a folder, or a file: regular files, folders and links as they are. What skip returns true for is left out; it may be nil.
func CopyTree(from, to string, skip func(rel string) bool) error {
	var files errgroup.Group
	files.SetLimit(copiers)
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if rel != "." && skip != nil && skip(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(dst, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, dst)
		case d.Type().IsRegular() && rel == ".": // not a folder
			return CopyFile(path, dst)
		case d.Type().IsRegular():
			files.Go(func() error { return copyFile(path, dst) })
		}
		return nil
	})
	return errors.Join(err, files.Wait())
}

// Move renames a folder, or copies it where the two places are on different file systems. Nothing may be at to.
func Move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if os.Rename(from, to) == nil {
		return nil
	}
	if err := CopyTree(from, to, nil); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

// Prune removes what drop returns true for below dir, and the folders that are empty after that.
func Prune(dir string, drop func(rel string, d fs.DirEntry) bool) error {
	_, err := prune(dir, "", drop)
	return err
}

func prune(dir, rel string, drop func(string, fs.DirEntry) bool) (removed bool, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, rel))
	if err != nil {
		return false, err
	}
	left := len(entries)
	for _, e := range entries {
		r := filepath.Join(rel, e.Name())
		if drop(r, e) {
			if err := os.RemoveAll(filepath.Join(dir, r)); err != nil {
				return false, err
			}
			left--
			continue
		}
		if e.IsDir() {
			gone, err := prune(dir, r, drop)
			if err != nil {
				return false, err
			}
			if gone {
				left--
			}
		}
	}
	// A folder that was empty when it was pushed cannot be: git keeps none.
	if left > 0 || rel == "" {
		return false, nil
	}
	err = os.Remove(filepath.Join(dir, rel))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err == nil, err
}

// First returns the first line of a text.
func First(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
