package sandbox

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Whiteouts of the OCI image specification.
const (
	whiteout       = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh."
)

// hide makes a whiteout, by which overlayfs hides a name, or a directory's whole content, of lower layers.
func (u *unpacker) hide(parent int, base string) error {
	if base == whiteoutOpaque {
		return opaque(fmt.Sprintf("/proc/self/fd/%d", parent))
	}
	if strings.HasPrefix(base, whiteoutMeta) {
		return nil // bookkeeping of aufs
	}
	hidden := strings.TrimPrefix(base, whiteout)
	if hidden == "" || hidden == "." || hidden == ".." {
		return unix.EINVAL
	}
	err := unix.Mknodat(parent, hidden, unix.S_IFCHR, 0)
	if err == unix.EEXIST { // the layer has the name itself, which hides the lower one; a directory only if it is opaque
		var st unix.Stat_t
		if unix.Fstatat(parent, hidden, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return opaque(fmt.Sprintf("/proc/self/fd/%d/%s", parent, hidden))
		}
		return nil
	}
	return os.NewSyscallError("mknod", err)
}

// opaque makes a directory hide the content that lower layers have in it.
func opaque(dir string) error {
	return os.NewSyscallError("setxattr", unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0))
}
