package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/gitd-io/gitd/internal/disk"
)

// directory is distribution's storage driver "filesystem": the same files, without the metrics and the traces of each access, which bring grpc and the
// exporters of OpenTelemetry.
type directory string

var _ driver.StorageDriver = directory("")

// Name is in errors.
func (directory) Name() string { return "filesystem" }

// at is the file of a path. Paths are made of names and digests that were checked; any other goes no further.
func (d directory) at(p string) (string, error) {
	if !driver.PathRegexp.MatchString(p) || path.Clean(p) != p {
		return "", driver.InvalidPathError{Path: p, DriverName: d.Name()}
	}
	return filepath.Join(string(d), p), nil
}

// folder is at, and takes "/" too.
func (d directory) folder(p string) (string, error) {
	if p == "/" {
		return string(d), nil
	}
	return d.at(p)
}

// known gives an error the form that distribution knows.
func (d directory) known(p string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return driver.PathNotFoundError{Path: p, DriverName: d.Name()}
	}
	return driver.Error{DriverName: d.Name(), Detail: err}
}

// GetContent reads a small file.
func (d directory) GetContent(_ context.Context, p string) ([]byte, error) {
	file, err := d.at(p)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(file)
	return b, d.known(p, err)
}

// PutContent puts a small file in place, whole and on the disk.
func (d directory) PutContent(_ context.Context, p string, content []byte) error {
	file, err := d.at(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return d.known(p, err)
	}
	return d.known(p, disk.ReplaceBytes(file, 0o644, content))
}

// Reader opens a file at an offset in bytes.
func (d directory) Reader(_ context.Context, p string, offset int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, driver.InvalidOffsetError{Path: p, Offset: offset, DriverName: d.Name()}
	}
	file, err := d.at(p)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, d.known(p, err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, d.known(p, err)
	}
	return f, nil
}

// Writer opens a file to be written, or written on.
func (d directory) Writer(_ context.Context, p string, appending bool) (driver.FileWriter, error) {
	file, err := d.at(p)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, d.known(p, err)
	}
	flags := os.O_WRONLY | os.O_CREATE
	if !appending {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(file, flags, 0o644)
	if err != nil {
		return nil, d.known(p, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, d.known(p, err)
	}
	return &writer{file: f, size: size, buffered: bufio.NewWriter(f)}, nil
}

// Stat describes a file or folder.
func (d directory) Stat(_ context.Context, p string) (driver.FileInfo, error) {
	file, err := d.folder(p)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, d.known(p, err)
	}
	fields := driver.FileInfoFields{Path: p, ModTime: info.ModTime(), IsDir: info.IsDir()}
	if !info.IsDir() {
		fields.Size = info.Size()
	}
	return driver.FileInfoInternal{FileInfoFields: fields}, nil
}

// List returns the paths of what a folder has, in no order.
func (d directory) List(_ context.Context, p string) ([]string, error) {
	file, err := d.folder(p)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, d.known(p, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(0)
	if err != nil {
		return nil, d.known(p, err)
	}
	for i, n := range names {
		names[i] = path.Join(p, n)
	}
	return names, nil
}

// Move renames a file. What is at the new path is replaced.
func (d directory) Move(_ context.Context, from, to string) error {
	source, err := d.at(from)
	if err != nil {
		return err
	}
	target, err := d.at(to)
	if err != nil {
		return err
	}
	if _, err := os.Stat(source); err != nil {
		return d.known(from, err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return d.known(to, err)
	}
	return d.known(to, os.Rename(source, target))
}

// Delete removes a file, or a folder with all that it has.
func (d directory) Delete(_ context.Context, p string) error {
	file, err := d.at(p)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		return d.known(p, err)
	}
	return d.known(p, os.RemoveAll(file))
}

// RedirectURL says that clients get content from us.
func (directory) RedirectURL(*http.Request, string) (string, error) { return "", nil }

// Walk calls f for what is below a path.
func (d directory) Walk(ctx context.Context, p string, f driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return driver.WalkFallback(ctx, d, p, f, options...)
}

// writer writes a file. It is on the disk after Close, or after Commit.
type writer struct {
	file     *os.File
	buffered *bufio.Writer
	size     int64 // with what was there
	ended    bool  // committed or cancelled
	closed   bool
}

var errClosed = errors.New("the writer was closed before")

func (w *writer) Write(p []byte) (int, error) {
	if w.closed || w.ended {
		return 0, errClosed
	}
	n, err := w.buffered.Write(p)
	w.size += int64(n)
	return n, err
}

func (w *writer) Size() int64 { return w.size }

func (w *writer) Close() error {
	if w.closed {
		return errClosed
	}
	w.closed = true
	if w.ended {
		return w.file.Close()
	}
	return errors.Join(w.buffered.Flush(), w.file.Sync(), w.file.Close())
}

func (w *writer) Cancel(context.Context) error {
	if w.closed {
		return errClosed
	}
	w.closed, w.ended = true, true
	_ = w.file.Close()
	return os.Remove(w.file.Name())
}

func (w *writer) Commit(context.Context) error {
	if w.closed || w.ended {
		return errClosed
	}
	if err := errors.Join(w.buffered.Flush(), w.file.Sync()); err != nil {
		return err
	}
	w.ended = true
	return nil
}
