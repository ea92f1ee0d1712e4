package maker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/layer"
)

// writeLayer makes a layer of what fill writes: dir/layer.tar.gz and dir/layer.json. It is compressed once, and fast: the layers
// stay on this machine.
func writeLayer(dir string, fill func(w *layerWriter) error) (*cache.Layer, error) {
	file := filepath.Join(dir, cache.LayerFile)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	digest, diffID, size := sha256.New(), sha256.New(), &counter{}
	out := bufio.NewWriterSize(io.MultiWriter(f, digest, size), 1<<18)
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := newLayerWriter(io.MultiWriter(z, diffID))
	if err := fill(w); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), z.Close(), out.Flush(), f.Close()); err != nil {
		return nil, err
	}
	sum := func(h hash.Hash) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))} }
	l := &cache.Layer{File: file, Info: cache.LayerInfo{Digest: sum(digest), DiffID: sum(diffID), Size: size.n}}
	b, err := json.Marshal(l.Info)
	if err != nil {
		return nil, err
	}
	return l, os.WriteFile(filepath.Join(dir, cache.InfoFile), b, 0o644)
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// layerWriter writes the entries of a layer, and the folders above them.
type layerWriter struct {
	*layer.Writer
	folders map[string]bool
}

func newLayerWriter(out io.Writer) *layerWriter {
	return &layerWriter{layer.NewWriter(out), map[string]bool{}}
}

// folder writes a folder, and those above it that are not there yet; these are root's.
func (w *layerWriter) folder(name string, mode int64, owner int) error {
	if name == "." || name == "" || w.folders[name] {
		return nil
	}
	if err := w.above(name); err != nil {
		return err
	}
	w.folders[name] = true
	return w.Dir(name, mode, owner)
}

func (w *layerWriter) above(name string) error { return w.folder(path.Dir(name), 0o755, 0) }

// file writes a file of root's.
func (w *layerWriter) file(name string, mode, size int64, content io.Reader) error {
	if err := w.above(name); err != nil {
		return err
	}
	return w.File(name, mode, size, content)
}

func (w *layerWriter) bytes(name string, mode int64, content []byte) error {
	return w.file(name, mode, int64(len(content)), bytes.NewReader(content))
}

func (w *layerWriter) program(name, from string) error { return layer.CopyProgram(from, name, w.file) }

func (w *layerWriter) link(name, target string) error {
	if err := w.above(name); err != nil {
		return err
	}
	return w.Link(name, target)
}

// tree writes everything below root, as the folder prefix ("" for the image's root), for which skip is false. It takes an overlay's upper directory too: whiteouts become what
// the image specification has for them. Files that are newer than since get a fixed time; what a package brought keeps its own, because Python
// compares it with what its compiled files say.
func (w *layerWriter) tree(root, prefix string, since time.Time, skip func(name string, d fs.DirEntry) bool) error {
	links := map[[2]uint64]string{}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil || name == "." {
			return err
		}
		name = path.Join(prefix, name)
		if skip(name, d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0 {
			return w.Tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(path.Dir(name), ".wh."+path.Base(name)), Mode: 0o644, ModTime: layer.Made})
		}
		if info.Mode()&(fs.ModeSocket|fs.ModeDevice|fs.ModeNamedPipe) != 0 {
			return nil // the runtime brings devices; the others belong to processes that have ended
		}
		h, err := header(p, name, info, since)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.writeFolder(p, name, h)
		}
		if !info.Mode().IsRegular() {
			return w.Tar.WriteHeader(h)
		}
		if st.Nlink > 1 {
			id := [2]uint64{st.Dev, st.Ino}
			if first, ok := links[id]; ok {
				h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
				return w.Tar.WriteHeader(h)
			}
			links[id] = name
		}
		return w.writeRegular(p, h)
	})
}

// header is the entry of a file, which says the same wherever and whenever it is made: no names of users, one date for what is newer than since.
func header(p, name string, info fs.FileInfo, since time.Time) (*tar.Header, error) {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(p); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	h.Name, h.Uname, h.Gname, h.AccessTime, h.ChangeTime, h.Format = name, "", "", time.Time{}, time.Time{}, tar.FormatUnknown
	h.ModTime = h.ModTime.Truncate(time.Second)
	if h.ModTime.After(since) {
		h.ModTime = layer.Made
	}
	return h, nil
}

// writeFolder writes a folder, and whether it hides the one below it.
func (w *layerWriter) writeFolder(p, name string, h *tar.Header) error {
	h.Name += "/"
	w.folders[name] = true
	if err := w.Tar.WriteHeader(h); err != nil {
		return err
	}
	var opaque [1]byte
	if n, _ := unix.Lgetxattr(p, "trusted.overlay.opaque", opaque[:]); n == 1 && opaque[0] == 'y' {
		return w.Tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + "/.wh..wh..opq", Mode: 0o644, ModTime: layer.Made})
	}
	return nil
}

// writeRegular writes a file with its capabilities and its content.
func (w *layerWriter) writeRegular(p string, h *tar.Header) error {
	if capability := extended(p, "security.capability"); capability != "" {
		h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capability}
	}
	if err := w.Tar.WriteHeader(h); err != nil {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w.Tar, f)
	return err
}

func extended(p, name string) string {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(p, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
