package registry

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gitd-io/gitd/internal/disk"
)

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
		n, err := c.sweepPart(filepath.Join(blobs, prefix))
		freed += n
		if err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// sweepPart does that for the blobs whose digests begin alike.
func (c *collection) sweepPart(dir string) (freed int64, err error) {
	names, err := entries(dir)
	if err != nil {
		return 0, err
	}
	var unmarked []string
	for _, hexDigest := range names {
		if !c.marked[hexDigest] {
			unmarked = append(unmarked, hexDigest)
		} else if in, err := entries(filepath.Join(dir, hexDigest)); err == nil && len(in) > 1 {
			if err := c.removeTemporary(filepath.Join(dir, hexDigest)); err != nil {
				return freed, err
			}
		}
	}
	c.collecting.Lock()
	defer c.collecting.Unlock()
	for _, hexDigest := range unmarked {
		blob := filepath.Join(dir, hexDigest)
		data := filepath.Join(blob, "data")
		info, err := os.Lstat(data)
		switch {
		case err == nil && c.young(data), err != nil && c.young(blob):
			continue
		case err == nil:
			if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Nlink == 1 { // a link elsewhere keeps the bytes
				freed += info.Size()
			}
		}
		if err := disk.RemoveAll(blob); err != nil {
			return freed, err
		}
	}
	_ = os.Remove(dir) // stays where it is not empty
	return freed, nil
}
