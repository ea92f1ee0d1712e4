package disk

import (
	"errors"
	"os"
)

// Sync puts a file's content, or a directory's names, on the disk: after it a power cut leaves them as they are.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
