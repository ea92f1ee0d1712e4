package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Layers keeps image layers unpacked, one directory each, named by the layer's diff ID.
type Layers struct {
	MaxEntries int   // of one layer; 0 for two million
	MaxBytes   int64 // of one layer, unpacked; 0 for 32 GiB

	dir    string
	shared []string
}

// OpenLayers keeps layers in dir. Layers that are found in one of shared are used from there and never written to it: the
// layers of builder and run image, which all servers of a machine have in common.
func OpenLayers(dir string, shared ...string) *Layers { return &Layers{dir: dir, shared: shared} }

// Ensure unpacks what is missing and returns the layers' directories, bottom first. Entries whose name would leave the layer's
// directory are an error; links are followed as they would be in the container, with the layer's directory as root. It is safe
// to call at once for images that share layers, and from several processes.
func (l *Layers) Ensure(ctx context.Context, img v1.Image) ([]string, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("sandbox: read the image's configuration: %w", err)
	}
	ids := config.RootFS.DiffIDs
	dirs := make([]string, len(ids))
	var missing []int
	for i, id := range ids {
		if err := checkDiffID(id); err != nil {
			return nil, err
		}
		if dirs[i] = l.find(id); dirs[i] == "" {
			dirs[i] = filepath.Join(l.dir, id.Hex)
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return dirs, nil
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("sandbox: read the image's layers: %w", err)
	}
	if len(layers) != len(ids) {
		return nil, app.Errorf(app.InvalidInput, "build the image anew", "the image has %d layers but names %d", len(layers), len(ids))
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, i := range missing {
		g.Go(func() error { return l.add(ctx, ids[i], layers[i]) })
	}
	return dirs, g.Wait()
}

// checkDiffID keeps names of strangers out of paths.
func checkDiffID(id v1.Hash) error {
	if id.Algorithm != "sha256" || len(id.Hex) != 64 || strings.Trim(id.Hex, "0123456789abcdef") != "" {
		return app.Errorf(app.InvalidInput, "build the image anew", "%q is no layer's diff ID", id.String())
	}
	return nil
}

// find returns the directory of an unpacked layer, "" if there is none.
func (l *Layers) find(id v1.Hash) string {
	for _, d := range append([]string{l.dir}, l.shared...) {
		p := filepath.Join(d, id.Hex)
		if i, err := os.Lstat(p); err == nil && i.IsDir() {
			return p
		}
	}
	return ""
}

// Start of the names of directories that are not whole.
const (
	unpackingPrefix = ".unpacking-"
	prunedPrefix    = ".pruned-"
)

// add unpacks one layer, unless another call or process was faster.
func (l *Layers) add(ctx context.Context, id v1.Hash, layer v1.Layer) (err error) {
	unlock, err := l.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	final := filepath.Join(l.dir, id.Hex)
	if _, err := os.Lstat(final); err == nil {
		return nil
	}
	temp := filepath.Join(l.dir, unpackingPrefix+id.Hex)
	if err := disk.RemoveAll(temp); err != nil { // of a process that died; the lock is ours
		return err
	}
	if err := os.Mkdir(temp, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = disk.RemoveAll(temp)
		}
	}()
	u := unpacker{maxEntries: l.MaxEntries, maxBytes: l.MaxBytes}
	if u.maxEntries <= 0 {
		u.maxEntries = 2_000_000
	}
	if u.maxBytes <= 0 {
		u.maxBytes = 32 << 30
	}
	blob, err := layer.Compressed()
	if err != nil {
		return fmt.Errorf("sandbox: read layer %s: %w", id, err)
	}
	defer blob.Close()
	sum, err := u.unpack(ctx, blob, temp)
	if err != nil {
		return fmt.Errorf("unpack layer %s: %w", id, err)
	}
	if sum != id.Hex {
		return app.Errorf(app.ImageMissing, "push again to build the image anew", "layer %s is damaged: its content is sha256:%s", id, sum)
	}
	return os.Rename(temp, final)
}

// lock waits for the layer's lock: one byte of a file, so that no lock's file is left over or has to be removed. The lock belongs
// to the open file, and so works between goroutines as well as between processes.
func (l *Layers) lock(ctx context.Context, id v1.Hash) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(l.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.Hex))
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(h.Sum32()), Len: 1})
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR):
			_ = f.Close()
			return nil, os.NewSyscallError("fcntl", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Prune removes the layers of dir that no image in keep has. Layers in use by a container must be in keep.
func (l *Layers) Prune(keep []v1.Image) error {
	kept := map[string]bool{}
	for _, img := range keep {
		c, err := img.ConfigFile()
		if err != nil {
			return fmt.Errorf("sandbox: read the image's configuration: %w", err)
		}
		for _, id := range c.RootFS.DiffIDs {
			kept[id.Hex] = true
		}
	}
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		hex := e.Name()
		for _, p := range []string{unpackingPrefix, prunedPrefix} {
			hex = strings.TrimPrefix(hex, p)
		}
		id := v1.Hash{Algorithm: "sha256", Hex: hex}
		if !e.IsDir() || checkDiffID(id) != nil || hex == e.Name() && kept[hex] {
			continue
		}
		errs = append(errs, l.prune(e.Name(), id))
	}
	return errors.Join(slices.DeleteFunc(errs, func(e error) bool { return e == nil })...)
}

// prune removes one directory, whole or not, unless it is being unpacked.
func (l *Layers) prune(name string, id v1.Hash) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	unlock, err := l.lock(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	pruned := filepath.Join(l.dir, prunedPrefix+id.Hex)
	if err := disk.RemoveAll(pruned); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(l.dir, name), pruned); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return disk.RemoveAll(pruned)
}
