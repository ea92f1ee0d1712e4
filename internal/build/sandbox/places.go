package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/disk"
	"golang.org/x/sys/unix"
)

// The container's root is writable, for whatever a builder image needs, but no limit sees what is written to it. So
// every place of the builder image that the build's user may write to, such as its home and /var/tmp, is a directory of the
// build instead: it counts in the limit on disk space.

// What a place may hold in the builder image, all in all: it is copied for each build. A larger one stays as it is, and is
// bounded only by the limit on one file and the check of free space.
const (
	maxPlaceBytes = 64 << 20
	maxPlaceFiles = 5000
)

// fixed are the places that every container has of its own, or that builds mount.
var fixed = []string{"proc", "sys", "dev", "tmp", "platform", strings.TrimPrefix(wire.Workspace, "/"), strings.TrimPrefix(wire.Layers, "/"), strings.TrimPrefix(cacheMount, "/"), strings.TrimPrefix(sharedMount, "/")}

// writablePlaces returns the directories and files, as paths without the first slash, that a user may write to in an image
// with these layers, bottom first. What is below another one is left out.
func writablePlaces(ctx context.Context, layers []string, uid, gid int) ([]string, error) {
	var found []string
	for _, layer := range layers {
		err := filepath.WalkDir(layer, func(file string, d fs.DirEntry, err error) error {
			if err = errors.Join(err, context.Cause(ctx)); err != nil {
				return err
			}
			if file == layer || !d.IsDir() && !d.Type().IsRegular() {
				return nil
			}
			name := file[len(layer)+1:]
			if slices.Contains(fixed, name) {
				return fs.SkipDir
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !writable(info, uid, gid) {
				return nil
			}
			found = append(found, name)
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	var places []string
	for _, name := range found {
		// A higher layer may have it otherwise, or not at all.
		info, err := top(layers, name)
		if err != nil {
			return nil, err
		}
		below := slices.ContainsFunc(places, func(p string) bool { return strings.HasPrefix(name, p+"/") })
		if info != nil && !below && writable(info, uid, gid) {
			places = append(places, name)
		}
	}
	return places, nil
}

// writable says whether a user may write to a directory or regular file, or give itself the right to. Root's own home of
// mode 0700 around it is not looked at: one place too many does no harm.
func writable(info fs.FileInfo, uid, gid int) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (info.IsDir() || info.Mode().IsRegular()) &&
		(int(s.Uid) == uid || int(s.Gid) == gid && s.Mode&0o020 != 0 || s.Mode&0o002 != 0)
}

// top returns what is visible under a name in a stack of layers, nil for nothing or for what lies behind a link.
func top(layers []string, name string) (fs.FileInfo, error) {
	for _, layer := range slices.Backward(layers) {
		parts := strings.Split(name, "/")
		for i := range parts {
			at := filepath.Join(layer, path.Join(parts[:i+1]...))
			info, err := os.Lstat(at)
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return nil, err
			}
			if i == len(parts)-1 {
				if isWhiteout(info) {
					return nil, nil
				}
				return info, nil
			}
			if !info.IsDir() {
				return nil, nil
			}
			if isOpaque(at) && !exists(filepath.Join(layer, path.Join(parts[:i+2]...))) {
				return nil, nil
			}
		}
	}
	return nil, nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// isWhiteout and isOpaque recognise overlayfs's marks that hide what lower layers have.
func isWhiteout(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && s.Rdev == 0
}

func isOpaque(dir string) bool {
	b := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", b)
	return err == nil && n == 1 && b[0] == 'y'
}

// errTooLarge says that a place holds more than is copied for each build.
var errTooLarge = errors.New("too large to copy")

// owners map the build's user and group to those that copies belong to.
type owners struct{ uid, gid, owner int }

func (o owners) of(s *syscall.Stat_t) (uid, gid int) {
	uid, gid = int(s.Uid), int(s.Gid)
	if uid == o.uid {
		uid = o.owner
	}
	if gid == o.gid && gid != 0 {
		gid = o.owner
	}
	return uid, gid
}

// copyPlace copies to target what is visible under a name in a stack of layers. No other process may have access to target yet.
func copyPlace(layers []string, name, target string, who owners) error {
	c := copier{owners: who, bytes: maxPlaceBytes, files: maxPlaceFiles}
	for _, layer := range layers {
		parts := strings.Split(name, "/")
		hidden := false // in this layer
		for i := range parts {
			at := filepath.Join(layer, path.Join(parts[:i+1]...))
			info, err := os.Lstat(at)
			if errors.Is(err, fs.ErrNotExist) {
				hidden = true
				break
			}
			if err != nil {
				return err
			}
			if last := i == len(parts)-1; !last && (!info.IsDir() || isOpaque(at)) {
				if err := disk.RemoveAll(target); err != nil {
					return err
				}
				if hidden = !info.IsDir(); hidden {
					break
				}
			}
		}
		if hidden {
			continue
		}
		if err := c.add(filepath.Join(layer, name), target); err != nil {
			return err
		}
	}
	return nil
}

type copier struct {
	owners
	bytes int64 // that may still be copied
	files int
}

// add lays a file or tree of one layer over what the layers below left in target.
func (c *copier) add(from, target string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if c.files--; c.files < 0 {
		return errTooLarge
	}
	old, err := os.Lstat(target)
	if err == nil && !(old.IsDir() && info.IsDir() && !isOpaque(from)) {
		if err := disk.RemoveAll(target); err != nil {
			return err
		}
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("no owner of " + from)
	}
	uid, gid := c.of(s)
	switch {
	case info.IsDir():
		if err := os.Mkdir(target, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := c.add(filepath.Join(from, e.Name()), filepath.Join(target, e.Name())); err != nil {
				return err
			}
		}
	case info.Mode().IsRegular():
		if c.bytes -= info.Size(); c.bytes < 0 {
			return errTooLarge
		}
		if err := copyFile(from, target); err != nil {
			return err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return errors.Join(os.Symlink(to, target), os.Lchown(target, uid, gid))
	default: // a whiteout; builds need no sockets and pipes of an image
		return nil
	}
	// Changing the owner clears the set-user-ID bit: the mode comes last.
	return errors.Join(os.Lchown(target, uid, gid), unix.Chmod(target, s.Mode&0o7777), os.Chtimes(target, info.ModTime(), info.ModTime()))
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// place is a directory or file of the build that stands for one of the builder image.
type place struct{ source, target string }

// makePlaces makes, in dir and owned by owner, what stands for the places of the builder image that its user may write to.
func (e *Engine) makePlaces(dir string, owner int) (made []place, err error) {
	names, err := e.findPlaces()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, err
	}
	for i, name := range names {
		source := filepath.Join(dir, strconv.Itoa(i))
		err := copyPlace(e.opts.Builder.Layers, name, source, owners{e.opts.Builder.UID, e.opts.Builder.GID, owner})
		if errors.Is(err, errTooLarge) {
			if err := disk.RemoveAll(source); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		made = append(made, place{source, "/" + name})
	}
	return made, nil
}
