package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// mountRoot mounts the layers with a writable directory on top. It uses mount(2) with short relative names, which holds 500 layers
// in the one page that option strings have, on every kernel. "volatile" spares the disk: the directory never outlives the container.
func mountRoot(config *shim.Config) error {
	if err := makeUpper(config.Written); err != nil {
		return err
	}
	if err := os.MkdirAll(shim.LowerDir, 0o700); err != nil {
		return err
	}
	names, err := lowerLayers(config)
	if err != nil {
		return err
	}
	if err := os.Chdir(shim.LowerDir); err != nil {
		return err
	}
	options := "lowerdir=../" + shim.OwnDir + ":" + strings.Join(names, ":") + ",upperdir=../" + shim.UpperDir + ",workdir=../" + shim.WorkDir
	err = unix.Mount("overlay", "../"+shim.RootDir, "overlay", unix.MS_NODEV, options+",volatile")
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10
		err = unix.Mount("overlay", "../"+shim.RootDir, "overlay", unix.MS_NODEV, options)
	}
	if err != nil {
		return fmt.Errorf("mount the %d layers of the container's root: %w", len(config.Layers), err)
	}
	return os.Chdir("..")
}

// smallestFile is what a file with content takes at least, in a file system in memory.
const smallestFile = 4096

// makeUpper makes the directories for what the container writes. With a size they are in a file system of their own, in memory: the kernel
// counts its pages, and what it needs for the files themselves, as the container's that writes them, and it goes with this process.
func makeUpper(size int64) error {
	if size > 0 {
		options := fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", size, size/smallestFile)
		if err := unix.Mount("tmpfs", shim.WrittenDir, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
			return fmt.Errorf("mount the file system that the container writes to: %w", err)
		}
	}
	for _, d := range []string{shim.UpperDir, shim.WorkDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(d, 0o755); err != nil { // independent of the umask: the upper one becomes the container's root
			return err
		}
	}
	return nil
}

// lowerLayers makes a name for each layer in LowerDir: a mount that shows the image's user as the container's, or a link. It returns the
// names, the uppermost layer's first. The mounts stay until the shim ends: each unmount costs the kernel milliseconds.
func lowerLayers(config *shim.Config) (names []string, err error) {
	var users *os.File
	if config.Users != "" {
		if users, err = os.Open(config.Users); err != nil {
			return nil, fmt.Errorf("the namespace with the users of the layers: %w", err)
		}
		defer users.Close()
	}
	for i, layer := range slices.Backward(config.Layers) {
		if slices.Contains(config.Layers[i+1:], layer) { // overlayfs refuses it; only the upper one has an effect
			continue
		}
		name := strconv.Itoa(i)
		names = append(names, name)
		if users != nil {
			at := filepath.Join(shim.LowerDir, name)
			if err := os.Mkdir(at, 0o700); err != nil {
				return nil, err
			}
			if shim.MountMapped(layer, at, int(users.Fd())) == nil {
				continue
			}
			if err := os.Remove(at); err != nil { // its file system cannot
				return nil, err
			}
		}
		if users != nil || config.Open {
			if err := openToAll(layer, config.UID, config.GID); err != nil {
				return nil, fmt.Errorf("open the files of a layer: %w", err)
			}
		}
		if err := os.Symlink(layer, filepath.Join(shim.LowerDir, name)); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// openMark is on the directory of a layer that openToAll is through with.
const openMark = "trusted.gitd.open"

// openToAll lets everybody do in a layer what the image's user may, for a container whose process is not that user: where files cannot be
// shown as its own. What belongs to other users and groups of the image, such as /etc/shadow, stays theirs, and nothing becomes writable
// in the layers of buildpacks, which hold programs. The layer's directory is root's alone, so that it stays within containers, and what
// a container writes goes into a directory of its own.
func openToAll(layer string, uid, gid uint32) error {
	user := fmt.Sprintf("%d:%d", uid, gid)
	mark := make([]byte, 64)
	if n, err := unix.Lgetxattr(layer, openMark, mark); err == nil && string(mark[:n]) == user {
		return nil
	}
	programs := filepath.Join(layer, "layers") + "/"
	err := filepath.WalkDir(layer, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		may := uint32(0o7)
		if strings.HasPrefix(name, programs) {
			may = 0o5
		}
		mode := st.Mode & 0o7777
		if st.Uid == uid && uid != 0 {
			mode |= st.Mode >> 6 & may
		}
		if st.Gid == gid && gid != 0 {
			mode |= st.Mode >> 3 & may
		}
		if mode == st.Mode&0o7777 {
			return nil
		}
		return unix.Chmod(name, mode) // not a link, and no other process writes here
	})
	if err != nil {
		return err
	}
	return unix.Lsetxattr(layer, openMark, []byte(user), 0)
}
