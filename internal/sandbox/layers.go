package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/keyed"
)

// Layers keeps image layers unpacked, one directory each, named by the layer's diff ID.
type Layers struct {
	MaxEntries int   // of one layer; 0 for two million
	MaxBytes   int64 // of one layer, unpacked; 0 for 32 GiB

	dir    string
	shared []string

	first   sync.Once     // looks at what is there
	settler *disk.Settler // notes what is on the disk for certain
	turns   chan struct{} // bounds how many layers are unpacked at once
	locks   keyed.Locks   // by name: calls of this process wait here for one another, and not at the file's lock

	mu sync.Mutex // mu guards the following

	held  map[string]int    // calls of Ensure under way that need a layer, by its name
	used  map[string]uint64 // the mark when an Ensure was done with a layer
	marks uint64
}

// OpenLayers keeps layers in dir. Layers that are found in one of shared are used from there and never written to it: the
// layers of builder and run image, which all servers of a machine have in common.
func OpenLayers(dir string, shared ...string) *Layers {
	return &Layers{dir: dir, shared: shared, settler: &disk.Settler{Dir: dir}, turns: make(chan struct{}, atOnce),
		held: map[string]int{}, used: map[string]uint64{}}
}

// atOnce is how many layers are unpacked at once, of all images.
const atOnce = 4

// distrust removes what was unpacked shortly before the machine went down: its files may be empty. What this start of the machine unpacked is
// whole, on the disk or not.
func (l *Layers) distrust() {
	all, err := l.list()
	if err != nil {
		return // nothing is here
	}
	_ = disk.AfterBoot(filepath.Join(l.dir, lockFile), func() error {
		for name, id := range all {
			if !disk.Settled(filepath.Join(l.dir, name)) {
				if err := l.prune(name, id); err != nil {
					return err
				}
			}
		}
		return nil
	}) // the next process tries again
	for name := range all {
		if dir := filepath.Join(l.dir, name); !strings.HasPrefix(name, ".") && !disk.Settled(dir) {
			l.settler.Settle(dir)
		}
	}
}

func (l *Layers) distrustAll() {
	l.distrust()
	for _, d := range l.shared {
		OpenLayers(d).distrust()
	}
}

// list returns the layers, whole or not, by the names of their directories.
func (l *Layers) list() (map[string]v1.Hash, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	all := map[string]v1.Hash{}
	for _, e := range entries {
		hex := e.Name()
		for _, p := range []string{unpackingPrefix, prunedPrefix} {
			hex = strings.TrimPrefix(hex, p)
		}
		if id := (v1.Hash{Algorithm: "sha256", Hex: hex}); e.IsDir() && checkDiffID(id) == nil {
			all[e.Name()] = id
		}
	}
	return all, nil
}

// Mark returns a point in time for Prune.
func (l *Layers) Mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks++
	return l.marks
}

// hold keeps layers from being pruned until release is called, and from each Prune whose mark is older than that.
func (l *Layers) hold(ids []v1.Hash) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.held[id.Hex]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, id := range ids {
			if l.held[id.Hex]--; l.held[id.Hex] == 0 {
				delete(l.held, id.Hex)
			}
			l.used[id.Hex] = l.marks
		}
	}
}

// Ensure unpacks what is missing and returns the layers' directories, bottom first. Entries whose name would leave the layer's
// directory are an error; links are followed as they would be in the container, with the layer's directory as root. It is safe
// to call at once for images that share layers, and from several processes.
func (l *Layers) Ensure(ctx context.Context, img v1.Image) ([]string, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("sandbox: read the image's configuration: %w", err)
	}
	ids := config.RootFS.DiffIDs
	l.first.Do(l.distrustAll)
	defer l.hold(ids)()
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
		return nil, app.Errorf(app.CodeInvalidInput, "build the image again", "the image has %d layers but names %d", len(layers), len(ids))
	}
	if err := l.makeDir(); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, i := range missing {
		g.Go(func() error { return l.add(ctx, ids[i], layers[i].Compressed) })
	}
	return dirs, g.Wait()
}

// Take unpacks a layer from its tar, before there is an image that has it: Ensure finds it then, or waits for it. What has another content than its
// diff ID says does not come to be. A layer that no image comes to have goes with the next Prune.
func (l *Layers) Take(ctx context.Context, id v1.Hash, tar io.ReadCloser) error {
	defer tar.Close()
	if err := checkDiffID(id); err != nil {
		return err
	}
	l.first.Do(l.distrustAll)
	defer l.hold([]v1.Hash{id})()
	if l.find(id) != "" {
		return nil
	}
	if err := l.makeDir(); err != nil {
		return err
	}
	return l.add(ctx, id, func() (io.ReadCloser, error) { return io.NopCloser(tar), nil })
}

// makeDir makes the layers' directory.
func (l *Layers) makeDir() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	return disk.AfterBoot(filepath.Join(l.dir, lockFile), func() error { return nil })
}

// checkDiffID keeps names of strangers out of paths.
func checkDiffID(id v1.Hash) error {
	if id.Algorithm != "sha256" || len(id.Hex) != 64 || strings.Trim(id.Hex, "0123456789abcdef") != "" {
		return app.Errorf(app.CodeInvalidInput, "build the image again", "%q is not a layer's diff ID", id.String())
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

// add unpacks one layer in its turn, unless another call or process was faster.
func (l *Layers) add(ctx context.Context, id v1.Hash, open func() (io.ReadCloser, error)) (err error) {
	done, err := l.locks.Acquire(ctx, id.Hex, func() {})
	if err != nil {
		return err
	}
	defer done()
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
	blob, err := open()
	if err != nil {
		return fmt.Errorf("sandbox: read layer %s: %w", id, err)
	}
	defer blob.Close()
	sum, err := u.unpack(ctx, blob, temp)
	if err != nil {
		return fmt.Errorf("unpack layer %s: %w", id, err)
	}
	if sum != id.Hex {
		return app.Errorf(app.CodeImageMissing, "push again to rebuild the image", "layer %s is damaged: its content is sha256:%s", id, sum)
	}
	if err := os.Rename(temp, final); err != nil {
		return err
	}
	l.settler.Settle(final)
	return nil
}

// lockFile has a byte for each layer that is locked, far behind its content: the run of the machine in which the layers were looked at.
const lockFile = ".lock"

// lock waits for the layer's lock: one byte of a file, so that no lock's file is left over or has to be removed. The lock belongs
// to the open file, and so works between goroutines as well as between processes.
func (l *Layers) lock(ctx context.Context, id v1.Hash) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(l.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.Hex))
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 1<<20 + int64(h.Sum32()), Len: 1})
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

// Prune removes the layers of dir that no image in keep has, and that no Ensure of these Layers was asked for since the mark. Layers in use by a
// container must be in keep. It waits for no Ensure, and none waits for it.
func (l *Layers) Prune(mark uint64, keep []v1.Image) error {
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
	all, err := l.list()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for name, id := range all {
		if name == id.Hex && kept[name] {
			continue
		}
		errs = append(errs, l.pruneUnused(mark, name, id))
	}
	return errors.Join(errs...)
}

// pruneUnused is prune, unless an Ensure needs the layer or was done with it after the mark.
func (l *Layers) pruneUnused(mark uint64, name string, id v1.Hash) error {
	l.mu.Lock()
	last, ever := l.used[id.Hex]
	if l.held[id.Hex] > 0 || ever && last >= mark {
		l.mu.Unlock()
		return nil
	}
	delete(l.used, id.Hex)
	gone, err := l.hide(name, id) // the name goes before another Ensure looks for it
	l.mu.Unlock()
	if err != nil || gone == "" {
		return err
	}
	return disk.RemoveAll(gone)
}

// prune removes one directory, whole or not, unless it is being unpacked.
func (l *Layers) prune(name string, id v1.Hash) error {
	gone, err := l.hide(name, id)
	if err != nil || gone == "" {
		return err
	}
	return disk.RemoveAll(gone)
}

// hide gives a directory another name, which it returns; "" where it is being unpacked or removed.
func (l *Layers) hide(name string, id v1.Hash) (gone string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	unlock, err := l.lock(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer unlock()
	gone = filepath.Join(l.dir, prunedPrefix+id.Hex)
	err = os.Rename(filepath.Join(l.dir, name), gone)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) { // one of that name is being removed: this one goes the next time
		return "", nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return gone, nil
}
