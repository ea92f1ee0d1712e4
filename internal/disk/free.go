package disk

import "golang.org/x/sys/unix"

// Free returns the bytes that ordinary users may still write on dir's file system.
func Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}
