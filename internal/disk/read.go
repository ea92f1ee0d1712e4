package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ReadInside reads a regular file of at most limit bytes in a directory of a stranger, and nothing that a link in there points to outside. What
// is no such file is an error.
func ReadInside(dir, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file of at most %d bytes", name, limit))
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
