package pack

import (
	"bufio"
	"cmp"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// errMissing says that the repository does not have an object.
var errMissing = errors.New("no such object")

// objectStore reads the objects that a repository has already. Indexes and packs are mapped, not loaded: looking up one
// object of a large repository touches a few pages. One goroutine uses it at a time.
type objectStore struct {
	dirs   []string // the repository's objects folder, and its alternates
	limits Limits
	spend  func(bytes int64) error // counts what is inflated and copied
	large  func() error            // called before something is read that is larger than ownMemory
	packs  []*storedPack
	z      *inflater
}

// openStore maps the indexes of a repository. What can't be read is left out, as git does.
func openStore(dir string, limits Limits, spend func(int64) error) *objectStore {
	s := &objectStore{limits: limits, spend: spend, z: newInflater(true)}
	if dir == "" {
		return s
	}
	s.dirs = withAlternates(nil, dir, 0)
	for _, dir := range s.dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "pack", "pack-*.idx"))
		for _, path := range found {
			b, err := mapFile(path)
			if err != nil {
				continue
			}
			p := &storedPack{index: b, path: strings.TrimSuffix(path, ".idx") + ".pack"}
			if !p.sound() {
				_ = unix.Munmap(b)
				continue
			}
			s.packs = append(s.packs, p)
		}
	}
	return s
}

// alternatesNested is how far git follows alternates of alternates.
const alternatesNested = 5

// withAlternates adds an objects folder and those that its info/alternates names (gitrepository-layout(5)) to dirs. What is not
// there is left out, as git does.
func withAlternates(dirs []string, dir string, depth int) []string {
	if slices.Contains(dirs, dir) {
		return dirs
	}
	dirs = append(dirs, dir)
	text, err := os.ReadFile(filepath.Join(dir, "info", "alternates"))
	if err != nil || depth > alternatesNested {
		return dirs
	}
	for line := range strings.Lines(string(text)) {
		path := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(path, `"`) {
			if plain, err := strconv.Unquote(path); err == nil {
				path = plain
			}
		}
		if path == "" || path[0] == '#' {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = withAlternates(dirs, filepath.Clean(path), depth+1)
		}
	}
	return dirs
}

// alternates says whether the repository has objects elsewhere.
func (s *objectStore) alternates() bool { return len(s.dirs) > 1 }

func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
}

func (s *objectStore) close() {
	for _, p := range s.packs {
		_ = unix.Munmap(p.index)
		if p.data != nil {
			_ = unix.Munmap(p.data)
		}
	}
	s.packs = nil
}

// objects returns how many objects the packs have.
func (s *objectStore) objects() (n int) {
	for _, p := range s.packs {
		n += p.count
	}
	return n
}

const (
	indexHead   = 8
	indexFanout = indexHead + 256*4
)

// object is an object of the repository.
type object struct {
	kind uint8
	data []byte
	raw  []byte // its zlib stream, where it is stored whole in a pack
}

// read returns an object, or errMissing.
func (s *objectStore) read(id ID) (o object, err error) {
	for _, p := range s.packs {
		if offset, ok := p.find(id); ok {
			if err := p.open(); err != nil {
				return o, err
			}
			return s.readAt(p.data, p.find, offset)
		}
	}
	return s.loose(id, true)
}

// kind returns what an object is, or errMissing. It inflates nothing.
func (s *objectStore) kind(id ID) (uint8, error) {
	for _, p := range s.packs {
		offset, ok := p.find(id)
		if !ok {
			continue
		}
		if err := p.open(); err != nil {
			return 0, err
		}
		for range s.limits.Depth + 1 {
			h, err := readEntry(p.data, p.find, offset)
			if err != nil {
				return 0, err
			}
			if h.kind <= kindTag {
				return h.kind, nil
			}
			offset = h.base
		}
		return 0, damaged("object %.12s of the repository has too many deltas", id)
	}
	o, err := s.loose(id, false)
	return o.kind, err
}

// errEntry says that a pack that was taken in once can't be read any more.
var errEntry = errors.New("a pack of the repository is damaged")

// readAt reads the object at an offset of a pack.
func (s *objectStore) readAt(pack []byte, find func(ID) (int64, bool), offset int64) (o object, err error) {
	var deltas []storedEntry
	var h storedEntry
	for {
		if h, err = readEntry(pack, find, offset); err != nil {
			return o, err
		}
		if h.kind <= kindTag {
			break
		}
		if len(deltas) > s.limits.Depth {
			return o, errEntry
		}
		deltas = append(deltas, h)
		offset = h.base
	}
	inflate := func(h storedEntry) ([]byte, int, error) {
		if err := s.fits(h.size); err != nil {
			return nil, 0, err
		}
		b := make([]byte, h.size, h.size+inflateSlack)
		n, err := s.z.one(b[:cap(b)], h.size, pack[h.data:])
		return b, n, err
	}
	var n int
	o.kind = h.kind
	if o.data, n, err = inflate(h); err != nil {
		return o, err
	}
	if len(deltas) == 0 {
		o.raw = pack[h.data : h.data+int64(n)]
	}
	for _, d := range slices.Backward(deltas) {
		delta, _, err := inflate(d)
		if err != nil {
			return o, err
		}
		from, to, instructions, err := deltaSizes(delta)
		if err != nil {
			return o, err
		}
		if err := s.fits(to); err != nil {
			return o, err
		}
		result := make([]byte, to)
		if from != int64(len(o.data)) {
			return o, errEntry
		}
		if err := applyDelta(result, o.data, instructions); err != nil {
			return o, err
		}
		o.data = result
	}
	return o, nil
}

// fits says whether n bytes may be made: an object has to be in memory beside its base and its delta.
func (s *objectStore) fits(n int64) error {
	if n > s.limits.Object || 3*n > s.limits.Memory {
		return tooMuch("leave very large files out of the repository", "unpacking took more than %s of memory", app.Size(s.limits.Memory))
	}
	if n > ownMemory && s.large != nil {
		if err := s.large(); err != nil {
			return err
		}
	}
	return s.spend(n)
}

// loose reads an object that has its own file, or only what it is.
func (s *objectStore) loose(id ID, content bool) (o object, err error) {
	name := id.String()
	for _, dir := range s.dirs {
		f, err := os.Open(filepath.Join(dir, name[:2], name[2:]))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return o, err
		}
		defer f.Close()
		return s.readLoose(f, name, content)
	}
	return o, errMissing
}

func (s *objectStore) readLoose(f *os.File, name string, content bool) (o object, err error) {
	z, err := zlib.NewReader(bufio.NewReader(f))
	if err != nil {
		return o, fmt.Errorf("loose object %s: %w", name, err)
	}
	r := bufio.NewReader(z)
	head, err := r.ReadString(0)
	if err != nil {
		return o, fmt.Errorf("loose object %s: %w", name, err)
	}
	kind, length, _ := strings.Cut(strings.TrimSuffix(head, "\x00"), " ")
	n, err := strconv.ParseInt(length, 10, 64)
	k := slices.Index(kindNames[:], kind)
	if err != nil || n < 0 || k < kindCommit || k > kindTag {
		return o, fmt.Errorf("loose object %s has no sound header", name)
	}
	if o.kind = uint8(k); !content {
		return o, nil
	}
	if err := s.fits(n); err != nil {
		return o, err
	}
	o.data = make([]byte, n)
	if _, err := io.ReadFull(r, o.data); err != nil {
		return o, fmt.Errorf("loose object %s: %w", name, err)
	}
	return o, nil
}
