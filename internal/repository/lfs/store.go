package lfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Limits bound what is kept for one app.
type Limits struct {
	Object  int64         // bytes of one object
	App     int64         // bytes of all objects of an app
	MinFree int64         // bytes that must stay free on the disk
	Keep    time.Duration // how long an object is kept that nothing live needs
}

// grace is how long an object that was just sent, or used, is kept in any case: the push that needs it is under way.
const grace = time.Hour

// Store holds the objects of one app: objects/ab/cd/OID below its folder, as Git LFS itself keeps them, each written whole, checked and
// synced before it has its name.
type Store struct {
	dir    string
	limits Limits

	mu       sync.Mutex
	measured bool
	used     int64           // bytes of all objects, and of those that are being received
	live     func() []string // the commits that are live
}

// Open returns the store in a folder, which need not exist. There must be one Store at a time for a folder. live returns the commits that are live: what they need stays.
func Open(dir string, limits Limits, live func() []string) *Store {
	return &Store{dir: dir, limits: limits, live: live}
}

const partPrefix = "tmp_" // of the names of files that are being received

// Clean removes what a crash left of objects that were being received.
func Clean(dir string) error {
	if err := disk.RemoveTemporary(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, partPrefix+"*"))
	for _, f := range found {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

func (s *Store) path(oid string) string {
	return filepath.Join(s.dir, "objects", oid[:2], oid[2:4], oid)
}

// Size returns the size of an object that is here, or fs.ErrNotExist.
func (s *Store) Size(oid string) (int64, error) {
	if !ValidOID(oid) {
		return 0, fs.ErrNotExist
	}
	info, err := os.Lstat(s.path(oid))
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fs.ErrNotExist
	}
	return info.Size(), nil
}

// Use is Size, and keeps the object from being collected for a while.
func (s *Store) Use(oid string) (int64, error) {
	s.mu.Lock() // not between the collector's look and its deed
	defer s.mu.Unlock()
	n, err := s.Size(oid)
	if err == nil {
		now := time.Now()
		err = os.Chtimes(s.path(oid), now, now)
	}
	return n, err
}

// Open opens an object for reading. The caller checks what is read where it must be right: disks fail.
func (s *Store) Open(oid string) (*os.File, error) {
	if !ValidOID(oid) {
		return nil, fs.ErrNotExist
	}
	return os.Open(s.path(oid))
}

// Remove removes an object.
func (s *Store) Remove(oid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.Size(oid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(s.path(oid))
	}
	if err == nil && s.measured {
		s.used -= n
	}
	return err
}

// object is one file of a store.
type object struct {
	oid  string
	size int64
	used time.Time
}

func (s *Store) list() ([]object, error) {
	var all []object
	err := filepath.WalkDir(filepath.Join(s.dir, "objects"), func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !ValidOID(d.Name()) {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			all = append(all, object{d.Name(), info.Size(), info.ModTime()})
		}
		return err
	})
	return all, err
}

// measure finds out once what is here. It is called with mu held.
func (s *Store) measure() error {
	if s.measured {
		return nil
	}
	all, err := s.list()
	if err != nil {
		return err
	}
	for _, o := range all {
		s.used += o.size
	}
	s.measured = true
	return nil
}

// reserve makes room for size bytes: on the disk, and in the app's share of it, for which it removes what was not used for longest.
func (s *Store) reserve(size int64) error {
	if size > s.limits.Object {
		return app.Errorf(app.CodeLimitExceeded, "keep it elsewhere, and let the app fetch it", "a large file of %s is more than the limit of %s", app.Size(size), app.Size(s.limits.Object))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.measure(); err != nil {
		return err
	}
	if need := s.used + size - s.limits.App; need > 0 {
		if err := s.evict(need, time.Now().Add(-grace)); err != nil {
			return err
		}
	}
	if s.used+size > s.limits.App {
		return app.Errorf(app.CodeLimitExceeded, "remove large files that are not needed, or ask the operator for more",
			"the app's large files take %s, and %s more would be over its limit of %s", app.Size(s.used), app.Size(size), app.Size(s.limits.App))
	}
	if err := s.room(size); err != nil {
		return err
	}
	s.used += size
	return nil
}

func (s *Store) release(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= size
}

// room says whether the disk has space for size bytes.
func (s *Store) room(size int64) error {
	free, err := disk.Free(s.dir)
	if err != nil {
		return err
	}
	if short := free.Short(s.limits.MinFree + size); short != "" {
		return app.Errorf(app.CodeUnavailable, "ask the operator to make room", "the server's disk is nearly full: %s", short)
	}
	return nil
}

// evict removes objects that no live commit needs and that were not used since before, least recently used first, until need
// bytes are free. It is called with mu held.
func (s *Store) evict(need int64, before time.Time) error {
	all, err := s.list()
	if err != nil {
		return err
	}
	needed, err := s.needed()
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b object) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.oid, b.oid)) })
	for _, o := range all {
		if need <= 0 || !o.used.Before(before) {
			break
		}
		if needed[o.oid] {
			continue
		}
		if err := os.Remove(s.path(o.oid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.used -= o.size
		need -= o.size
	}
	return nil
}

// ErrContent is in the chain where the content of an object is not what its name says.
var ErrContent = errors.New("the content does not match its name")

// incoming is an object that is being received.
type incoming struct {
	store *Store
	oid   string
	size  int64
	file  *os.File
	sum   hash.Hash
	got   int64
}

// receive begins an object. The caller writes its content, and ends with finish or abandon.
func (s *Store) receive(oid string, size int64) (*incoming, error) {
	if err := mkdir(s.dir); err != nil {
		return nil, err
	}
	if err := s.reserve(size); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, partPrefix)
	if err != nil {
		s.release(size)
		return nil, err
	}
	return &incoming{store: s, oid: oid, size: size, file: f, sum: sha256.New()}, nil
}

func (in *incoming) Write(p []byte) (int, error) {
	if in.got += int64(len(p)); in.got > in.size {
		return 0, ErrContent
	}
	in.sum.Write(p)
	return in.file.Write(p)
}

// abandon removes what was received.
func (in *incoming) abandon() {
	_ = in.file.Close()
	_ = os.Remove(in.file.Name())
	in.store.release(in.size)
}

// finish checks the object and gives it its name, durably.
func (in *incoming) finish() error {
	err := in.settle()
	if err != nil {
		in.abandon()
	}
	return err
}

func (in *incoming) settle() error {
	if in.got != in.size || hex.EncodeToString(in.sum.Sum(nil)) != in.oid {
		return ErrContent
	}
	if err := in.file.Chmod(0o444); err != nil {
		return err
	}
	if err := in.file.Sync(); err != nil {
		return err
	}
	to := in.store.path(in.oid)
	in.store.mu.Lock()
	defer in.store.mu.Unlock()
	folders := []string{filepath.Join(in.store.dir, "objects"), filepath.Dir(filepath.Dir(to)), filepath.Dir(to)}
	for _, d := range folders {
		if err := mkdir(d); err != nil {
			return err
		}
	}
	if old, err := os.Lstat(to); err == nil { // sent twice at once
		in.store.used -= old.Size()
	}
	if err := os.Rename(in.file.Name(), to); err != nil {
		return err
	}
	for _, d := range folders {
		if err := disk.Sync(d); err != nil {
			return err
		}
	}
	return in.file.Close()
}

// mkdir makes one folder, but none above it: the repository around the store may have been deleted meanwhile, and must stay so.
func mkdir(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// CopyTo writes an object to w, and fails where it is not what its name says.
func (s *Store) CopyTo(ctx context.Context, w io.Writer, p Pointer, buf []byte) error {
	f, err := s.Open(p.OID)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	var n int64
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		m, err := f.Read(buf)
		if n += int64(m); n > p.Size {
			return ErrContent
		}
		sum.Write(buf[:m])
		if _, err := w.Write(buf[:m]); err != nil {
			return err
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if n != p.Size || hex.EncodeToString(sum.Sum(nil)) != p.OID {
		return ErrContent
	}
	return nil
}
