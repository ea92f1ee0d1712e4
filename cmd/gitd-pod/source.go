package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

// maxEntry is the size limit of a file that is not part of the source, in bytes.
const maxEntry = 8 << 20

// volumes are where the archive's folders go.
var volumes = map[string]string{"workspace": wire.Workspace, "platform": wire.Platform, "credentials": wire.Credentials}

// receive writes what gitd sends to the volumes, and calls start when all that comes before the source is there. Nothing is ever
// written outside of the volumes, and over nothing.
func receive(r io.Reader, volumes map[string]string, start func()) error {
	roots := map[string]*os.Root{}
	for name, dir := range volumes {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		roots[name] = root
	}
	started := false
	in := tar.NewReader(bufio.NewReaderSize(r, 1<<20))
	for {
		h, err := in.Next()
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return errors.New("the connection ended before the source was whole")
			}
			return err
		}
		switch h.Name {
		case wire.StartEntry:
			started = true
			start()
			continue
		case wire.EndEntry:
			if !started {
				return errors.New("the archive has an end and no start")
			}
			return nil
		}
		volume, name, _ := strings.Cut(h.Name, "/")
		root := roots[volume]
		if root == nil || name == "" || (volume == "workspace") != started {
			return errors.New("an entry where none belongs: " + h.Name)
		}
		if !started && (h.Typeflag != tar.TypeReg || h.Size > maxEntry) {
			return errors.New("an odd entry: " + h.Name)
		}
		if err := write(root, path.Clean(name), h, in); err != nil {
			return err
		}
	}
}

// write makes one entry. Its mode is set once more after it was made: the umask and a volume's set-group-ID bit are not the source's.
func write(root *os.Root, name string, h *tar.Header, content io.Reader) error {
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, 0o755); err != nil {
			return err
		}
		return root.Chmod(name, mode)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		if dir := path.Dir(name); dir != "." {
			if err := root.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Chmod(mode), f.Close())
	}
	return errors.New("an entry of a kind that no source has: " + h.Name)
}
