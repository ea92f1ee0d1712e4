// Package layer writes layers of images: tar files whose entries do not differ by when or where they were made.
package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Made is the time of everything that gitd packs itself.
var Made = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Writer writes the entries of a layer. Names have no leading slash.
type Writer struct{ Tar *tar.Writer }

// NewWriter returns a Writer to out; Close ends the layer.
func NewWriter(out io.Writer) *Writer { return &Writer{tar.NewWriter(out)} }

// Close ends the layer.
func (w *Writer) Close() error { return w.Tar.Close() }

// Dir writes a directory, of a user whose group has the same number.
func (w *Writer) Dir(name string, mode int64, owner int) error {
	return w.Tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner, ModTime: Made})
}

// File writes a file of root's, of size bytes.
func (w *Writer) File(name string, mode, size int64, content io.Reader) error {
	if err := w.Tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: Made}); err != nil {
		return err
	}
	_, err := io.CopyN(w.Tar, content, size)
	return err
}

// Bytes writes a file of root's.
func (w *Writer) Bytes(name string, mode int64, content []byte) error {
	return w.File(name, mode, int64(len(content)), bytes.NewReader(content))
}

// Link writes a symbolic link.
func (w *Writer) Link(name, target string) error {
	return w.Tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: Made})
}

// Program copies a program of this machine, for everybody to run.
func (w *Writer) Program(name, from string) error { return CopyProgram(from, name, w.File) }

// CopyProgram gives a program of this machine to write.
func CopyProgram(from, name string, write func(name string, mode, size int64, content io.Reader) error) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return write(name, 0o755, info.Size(), f)
}

// InMemory returns the layer of what fill writes.
func InMemory(fill func(*Writer) error, options ...tarball.LayerOption) (v1.Layer, error) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := fill(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, options...)
}
