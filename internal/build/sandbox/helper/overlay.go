package helper

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOverlay mounts layers, bottom first, at root/root, with a writable layer in root/upper. It goes there and uses mount(2) with short
// names, links to the layers: a page of options, which is what every kernel takes, holds a thousand, whatever their paths are.
func mountOverlay(lower []string, root string) error {
	for _, d := range []string{"lower", "upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	var names []string
	for i, layer := range slices.Backward(lower) {
		if slices.Contains(lower[i+1:], layer) { // overlayfs refuses it; only the upper one has an effect
			continue
		}
		names = append(names, strconv.Itoa(i))
		if err := os.Symlink(layer, filepath.Join(root, "lower", strconv.Itoa(i))); err != nil {
			return err
		}
	}
	if err := os.Chdir(filepath.Join(root, "lower")); err != nil {
		return err
	}
	return os.NewSyscallError("mount", unix.Mount("overlay", "../root", "overlay", 0, "lowerdir="+strings.Join(names, ":")+",upperdir=../upper,workdir=../work"))
}
