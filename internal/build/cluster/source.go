package cluster

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

// delivery is what a Pod gets: everything that its phases work on.
type delivery struct {
	credentials []byte            // docker config.json; nil for none
	proxies     map[string]string // of gitd itself: an app may change those in env
	env         map[string]string // platform/env
	bundle      string            // file of certificate authorities on this host; "" for none
	dir         string            // the source
	source      *checkout         // that writes it
}

// checkout is a source that is being written to the disk. It may be asked for many times.
type checkout struct {
	done chan struct{} // closed when the source is whole, or will never be
	err  error         // set before
}

func (c *checkout) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write writes the archive as gitd-pod expects it. The analysis in the Pod begins before the source is checked out.
func (d *delivery) write(ctx context.Context, to io.Writer) error {
	buffered := bufio.NewWriterSize(to, 256<<10)
	w := tar.NewWriter(buffered)
	file := func(name string, content []byte) error {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if d.credentials != nil {
		if err := file(wire.CredentialsEntry, d.credentials); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(d.proxies)) {
		if err := file(wire.ProxyEntry+n, []byte(d.proxies[n])); err != nil {
			return err
		}
	}
	if d.bundle != "" {
		b, err := os.ReadFile(d.bundle)
		if err != nil {
			return err
		}
		if err := file(wire.BundleEntry, b); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(d.env)) {
		if err := file(wire.EnvEntry+n, []byte(d.env[n])); err != nil {
			return err
		}
	}
	if err := file(wire.StartEntry, nil); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := d.source.wait(ctx); err != nil {
		return err
	}
	if err := writeTree(ctx, w, d.dir); err != nil {
		return err
	}
	if err := file(wire.EndEntry, nil); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// writeTree writes a directory that does not change meanwhile. Links are written as links.
func writeTree(ctx context.Context, w *tar.Writer, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || path == dir {
			return err
		}
		name := wire.WorkspaceEntry + path[len(dir)+1:]
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Format: tar.FormatPAX, ModTime: time.Unix(0, 0)}
		switch {
		case d.IsDir():
			h.Typeflag = tar.TypeDir
			return w.WriteHeader(h)
		case d.Type()&fs.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
			if h.Linkname, err = os.Readlink(path); err != nil {
				return err
			}
			return w.WriteHeader(h)
		case !d.Type().IsRegular():
			return nil
		}
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	})
}
