// Package pack takes in packs from strangers: it reads a pack as it arrives, checks every object in it, resolves its deltas,
// completes it where it builds on objects that the repository has, and writes the index that git reads.
//
// It does what git index-pack --stdin --fix-thin --strict does, and its indexes are the same byte for byte, for about half
// of the processor time. Formats: gitformat-pack(5). Only SHA-1 repositories are known.
//
// A pack goes through these steps, each in its own file: scan (first pass over the stream), resolve (deltas), complete (thin
// packs), verify (what the objects refer to), index (the .idx file).
package pack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/pack/fsck"
)

// ID is the name of an object.
type ID = plumbing.Hash

// ParseID reads an ID in hex.
func ParseID(s string) (id ID, err error) {
	if !plumbing.IsHash(s) {
		return ID{}, fmt.Errorf("%q is not an object ID", s)
	}
	return plumbing.NewHash(s), nil
}

// Limits bound what one pack may cost. What is zero takes its default.
type Limits struct {
	Bytes    int64  // of the pack as sent; default 1 GiB
	Objects  uint32 // by its header; default 2,000,000
	Object   int64  // bytes of one object when inflated; default 512 MiB, at most 4 GiB - 1
	Inflated int64  // bytes inflated and copied in all: the work that a pack may make; default 64 GiB
	Depth    int    // of a chain of deltas; default 4095, which is the most that git makes
	Memory   int64  // bytes for the contents of objects at one time; default 1 GiB
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Bytes, 1<<30)
	setDefault(&l.Objects, 2_000_000)
	setDefault(&l.Object, 512<<20)
	setDefault(&l.Inflated, 64<<30)
	setDefault(&l.Depth, 4095)
	setDefault(&l.Memory, 1<<30)
	l.Object = min(l.Object, 1<<32-1)
	return l
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Options say how a pack is taken in.
type Options struct {
	Dir        string                           // existing folder that takes the pack and its index
	Repository string                           // objects folder of the repository that the pack may build on, or ""; its alternates count
	Shallow    func(ID) bool                    // commits whose parents may be missing; nil: none
	Limits     Limits                           //
	Ignore     []string                         // messages of git fsck that are not errors, such as "badTimezone"
	Workers    int                              // goroutines that resolve deltas; default: one a processor, at most 4
	NoSync     bool                             // leave it to the caller to bring the files to the disk
	Progress   func(phase string, done, of int) // called often, by one goroutine at a time

	headless bool // objects are named without their header: the collisions that are public have none
}

// Result is what a pack held.
type Result struct {
	Name      string // "pack-" and the checksum; .pack and .idx follow. "" for a pack without objects
	Objects   int    // as sent
	Completed int    // objects of the repository added to complete a thin pack
	Bytes     int64  // as sent
	// Connected says that all that the objects refer to is in the pack or in the repository itself. It is not said where that
	// has alternates: another repository's objects need not be complete.
	Connected bool
}

// Index reads one pack from r up to its trailer: what follows the trailer is left in r. It returns io.EOF where r ends
// before it begins. What is wrong with the pack is told by an *app.Error; then nothing stays in Dir.
//
// It ends when ctx does; a read of r that is under way then goes on in the background until it returns, so r must not be
// used again.
func Index(ctx context.Context, r *bufio.Reader, o Options) (*Result, error) {
	o.Limits = o.Limits.withDefaults()
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), 4)
	}
	x := &indexer{Options: o, ctx: ctx, check: fsck.Checker{Ignore: map[string]bool{}}}
	for _, id := range o.Ignore {
		x.check.Ignore[id] = true
	}
	defer context.AfterFunc(ctx, func() { x.stopped.Store(true) })()
	scanned := make(chan error, 1)
	go func() { scanned <- x.scan(r) }()
	select {
	case err := <-scanned:
		defer x.close()
		if err == nil && x.count > 0 {
			err = guard(x.finish)
		}
		if err != nil {
			return nil, x.explain(err)
		}
		return &x.result, nil
	case <-ctx.Done():
		x.abandon()
		go func() {
			<-scanned
			x.close()
		}()
		return nil, context.Cause(ctx)
	}
}

// entry is one object of the pack.
type entry struct {
	offset  int64
	size    uint32 // of its own data when inflated: for a delta the delta's, not the object's
	crc     uint32 // of the entry as stored
	id      ID
	child   int32 // the last delta by offset on this object, or -1
	sibling int32 // the delta before this one on the same object, or -1
	header  uint8 // bytes before the zlib stream
	stored  uint8 // kind of the entry: an object's, offsetDelta or refDelta
	kind    uint8 // of the object, 0 until it is resolved
}

// Kinds of entries; 1 to 4 are those of objects.
const (
	kindCommit  = 1
	kindTree    = 2
	kindBlob    = 3
	kindTag     = 4
	offsetDelta = 6
	refDelta    = 7
)

var kindNames = [8]string{kindCommit: "commit", kindTree: "tree", kindBlob: "blob", kindTag: "tag"}

// Entries are kept in blocks: a header that lies about their number costs nothing, and growing copies nothing.
const (
	entryBlockBits = 14
	entryBlock     = 1 << entryBlockBits
)

// refChild is a delta whose base is given by name.
type refChild struct {
	base  ID
	entry int32
}

// indexer takes in one pack.
type indexer struct {
	Options
	ctx     context.Context
	stopped atomic.Bool // by ctx, or by a worker that failed
	check   fsck.Checker
	result  Result

	file   *os.File   // the pack; its name is temporary until the end
	naming sync.Mutex // held while file gets its name, and loses it early
	data   []byte     // the pack, mapped
	count  int        // by the header
	blocks [][]entry
	total  int // entries so far
	// offHeap are the blocks that have to be given back.
	offHeap [][]entry
	refs    []refChild
	// claimed has for each base named in refs whether its children are taken care of, at the index of the first.
	claimed []atomic.Bool
	sum     ID // the pack's checksum
	end     int64

	work     atomic.Int64 // bytes inflated and copied
	deltas   int
	resolved atomic.Int64 // deltas
	told     progressTeller

	links    linkSet
	attached attachedSet
	store    *objectStore
	large    sync.Mutex // held by the worker that may use more than its share of memory, or waits for the turn to
	turns    int        // how often we have the turn
	reading  bool       // one of them is for an object of the repository
}

func (x *indexer) at(i int32) *entry { return &x.blocks[i>>entryBlockBits][i&(entryBlock-1)] }

func (x *indexer) add(e entry) int32 {
	if x.total&(entryBlock-1) == 0 {
		x.blocks = append(x.blocks, x.newBlock(min(entryBlock, max(x.count-x.total, 64))))
	}
	last := &x.blocks[len(x.blocks)-1]
	*last = append(*last, e)
	x.total++
	return int32(x.total - 1)
}

func (x *indexer) newBlock(n int) []entry {
	if n == entryBlock {
		if b, err := newOffHeap[entry](n); err == nil {
			x.offHeap = append(x.offHeap, b)
			return b[:0]
		}
	}
	return make([]entry, 0, n)
}

// spend counts work, and fails when there is too much of it or it is no longer waited for.
func (x *indexer) spend(bytes int64) error {
	if x.work.Add(bytes+64) > x.Limits.Inflated {
		return tooMuch("push a shorter history, for instance from a shallow clone", "the pack unpacks to more than %s", app.Size(x.Limits.Inflated))
	}
	if x.stopped.Load() {
		return errStopped
	}
	return nil
}

// finish does all that is left once the pack has arrived.
func (x *indexer) finish() error {
	if err := x.mapPack(); err != nil {
		return err
	}
	if err := x.resolve(); err != nil {
		return err
	}
	if err := x.complete(); err != nil {
		return err
	}
	x.told.tell(x.Progress, "Resolving deltas", int(x.resolved.Load()), x.deltas) // where the last ones were large
	order, err := x.sort()
	if err != nil {
		return err
	}
	if err := x.verify(order); err != nil {
		return err
	}
	if x.stopped.Load() || x.ctx.Err() != nil { // stopped follows ctx a little later
		return errStopped
	}
	return x.keep(order)
}

// mapPack maps the pack, which is complete.
func (x *indexer) mapPack() (err error) {
	x.data, err = unix.Mmap(int(x.file.Fd()), 0, int(x.end)+trailerSize, unix.PROT_READ, unix.MAP_SHARED)
	return err
}

// keep writes the index, and gives both files their names: the pack first, since git believes in a pack that has an index.
func (x *indexer) keep(order []int32) error {
	name := "pack-" + x.sum.String()
	base := filepath.Join(x.Dir, name)
	index, err := os.CreateTemp(x.Dir, "tmp_idx_")
	if err != nil {
		return err
	}
	defer index.Close()
	defer os.Remove(index.Name()) // a no-op once it is renamed
	if err := x.writeIndex(index, order); err != nil {
		return err
	}
	for _, f := range []*os.File{x.file, index} {
		if err := f.Chmod(0o444); err != nil {
			return err
		}
		if !x.NoSync {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(x.file.Name(), base+".pack"); err != nil {
		return err
	}
	if err := os.Rename(index.Name(), base+".idx"); err != nil {
		_ = os.Remove(base + ".pack")
		return err
	}
	x.result.Name, x.result.Connected = name, !x.store.alternates()
	if x.NoSync {
		return nil
	}
	d, err := os.Open(x.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// createFile makes the file for the pack, unless it is no longer wanted.
func (x *indexer) createFile() (err error) {
	x.naming.Lock()
	defer x.naming.Unlock()
	if x.stopped.Load() {
		return errStopped
	}
	x.file, err = os.CreateTemp(x.Dir, "tmp_pack_")
	return err
}

// abandon sees to it that nothing is in Dir and nothing will be, while the scan may still wait for the client.
func (x *indexer) abandon() {
	x.stopped.Store(true)
	x.naming.Lock()
	defer x.naming.Unlock()
	if x.file != nil {
		_ = os.Remove(x.file.Name())
	}
}

// close gives everything back; the pack goes too unless it was kept.
func (x *indexer) close() {
	for _, b := range x.offHeap {
		freeOffHeap(b)
	}
	x.blocks, x.offHeap = nil, nil
	x.doneReading()
	x.links.free()
	if x.data != nil {
		_ = unix.Munmap(x.data)
	}
	if x.store != nil {
		x.store.close()
	}
	if x.file != nil {
		if x.result.Name == "" {
			_ = os.Remove(x.file.Name())
		}
		_ = x.file.Close()
	}
}

// explain puts into words what is not a person's doing.
func (x *indexer) explain(err error) error {
	var told *app.Error
	switch {
	case errors.Is(err, errStopped) && x.ctx.Err() != nil:
		return context.Cause(x.ctx)
	case err == io.EOF || errors.As(err, &told):
		return err
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return app.Wrap(err, app.CodeUnavailable, "ask the operator to make room", "the server's disk is full")
	}
	return fmt.Errorf("index pack: %w", err)
}

// progressTeller passes progress on when the percentage changes.
type progressTeller struct {
	mu    sync.Mutex
	phase string
	last  int
}

func (p *progressTeller) tell(f func(string, int, int), phase string, done, of int) {
	if f == nil || of == 0 || done&1023 != 0 && done != of {
		return
	}
	percent := int(int64(done) * 100 / int64(of))
	p.mu.Lock()
	defer p.mu.Unlock()
	if phase == p.phase && percent <= p.last {
		return
	}
	p.phase, p.last = phase, percent
	f(phase, done, of)
}
