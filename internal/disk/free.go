package disk

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// Space is what a file system has left for ordinary users.
type Space struct {
	Bytes   int64
	Entries int64 // files and folders that can still be made: free inodes; -1 where the file system makes them as needed
	Total   int64 // files and folders that fit in all; -1 alike
}

// Free returns what is left on dir's file system.
func Free(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, err
	}
	free := Space{Bytes: int64(s.Bavail) * s.Bsize, Entries: int64(s.Ffree), Total: int64(s.Files)}
	if s.Files == 0 { // btrfs, for one
		free.Entries, free.Total = -1, -1
	}
	return free, nil
}

// Of the files and folders that fit on a file system, one in fifty is kept free, and no more than this many.
const mostKept = 50_000

// Short tells in words what is missing where so many bytes must be free, and the files and folders that go with them: "" where there is
// enough. Where no bytes need to be free, none of the others do.
func (s Space) Short(bytes int64) string { return s.short(bytes, min(s.Total/50, mostKept)) }

// VeryShort is Short with half of what is kept free: for work under way that stops where it began with enough.
func (s Space) VeryShort(bytes int64) string { return s.short(bytes/2, min(s.Total/50, mostKept)/2) }

func (s Space) short(bytes, entries int64) string {
	switch {
	case bytes > 0 && s.Bytes < bytes:
		return fmt.Sprintf("%s free, %s needed", app.Size(s.Bytes), app.Size(bytes))
	case bytes > 0 && s.Total > 0 && s.Entries < entries:
		return fmt.Sprintf("room for %d more files, and %d are needed", s.Entries, entries)
	}
	return ""
}
