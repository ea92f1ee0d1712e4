package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOverlay mounts layers, bottom first, at target, with a writable layer in upper. Kernels from 6.5 take the layers one
// by one; older ones take them in one string, of a page at most.
func mountOverlay(lower []string, upper, work, target string) error {
	for _, d := range []string{upper, work, target} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	err := mountOverlayByOne(lower, upper, work, target)
	if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	reversed := make([]string, len(lower))
	for i, d := range lower {
		reversed[len(lower)-1-i] = d
	}
	options := "lowerdir=" + strings.Join(reversed, ":") + ",upperdir=" + upper + ",workdir=" + work
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("the builder image has too many layers (%d) for a kernel older than 6.5", len(lower))
	}
	return unix.Mount("overlay", target, "overlay", 0, options)
}

func mountOverlayByOne(lower []string, upper, work, target string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for i := len(lower) - 1; i >= 0; i-- {
		if err := unix.FsconfigSetString(fs, "lowerdir+", lower[i]); err != nil {
			return err
		}
	}
	if err := unix.FsconfigSetString(fs, "upperdir", upper); err != nil {
		return err
	}
	if err := unix.FsconfigSetString(fs, "workdir", work); err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
