package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// temporary is how the names of files begin that Replace is writing.
const temporary = ".new-"

// RemoveTemporary removes the files of a folder that Replace was writing when its process was killed. No process may be writing there.
func RemoveTemporary(dir string) error {
	left, err := filepath.Glob(filepath.Join(escape.Replace(dir), temporary+"*"))
	for _, f := range left {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// escape makes a pattern of a name.
var escape = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// Replace writes a file, in a folder that is there, so that a power cut leaves what was there before or all that fill wrote.
func Replace(path string, mode os.FileMode, fill func(*os.File) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return Sync(dir)
}

// ReplaceBytes is Replace with content that is at hand.
func ReplaceBytes(path string, mode os.FileMode, content []byte) error {
	return Replace(path, mode, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}
