package pack

import (
	"encoding/binary"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/pack/fsck"
)

// objectChecker names objects, checks them and notes what they refer to. One goroutine uses it.
type objectChecker struct {
	x       *indexer
	hash    *objectHash
	id      ID
	cut     bool // the commit's parents may be missing
	pending []link
	recent  [linkCache]link // most of what a tree refers to the one before it did
	err     error
}

const (
	linkCache = 1 << 12
	linkBatch = 256
)

func newObjectChecker(x *indexer) *objectChecker {
	return &objectChecker{x: x, hash: newObjectHash(x), pending: make([]link, 0, linkBatch)}
}

// maxText bounds commits, trees and tags, in bytes; no tree that can be deployed is larger than half of it.
const maxText = 32 << 20

func textFits(kind uint8, n int64) error {
	if kind != kindBlob && n > maxText {
		return tooMuch("leave it out of the history", "the pack has a %s of %s; the limit is %s", kindNames[kind], app.Size(n), app.Size(maxText))
	}
	return nil
}

// examine returns the name of an object that is sound.
func (c *objectChecker) examine(kind uint8, data []byte) (ID, error) {
	if err := textFits(kind, int64(len(data))); err != nil {
		return ID{}, err
	}
	id, err := c.hash.of(kind, data)
	if err != nil {
		return id, err
	}
	c.id, c.cut = id, false
	switch kind {
	case kindCommit:
		c.cut = c.x.Shallow != nil && c.x.Shallow(id)
		err = c.x.check.Commit(data, c)
	case kindTree:
		err = c.x.check.Tree(data, c)
	case kindTag:
		err = c.x.check.Tag(data, c)
	}
	if err != nil {
		return id, unsound(id, err)
	}
	return id, c.err
}

// Link implements fsck.Visitor.
func (c *objectChecker) Link(kind fsck.Kind, id []byte) {
	if kind == fsck.Parent {
		if c.cut {
			return
		}
		kind = fsck.Commit
	}
	p := &c.recent[binary.LittleEndian.Uint32(id)%linkCache]
	l := link{ID(id), uint8(kind)}
	if *p == l {
		return
	}
	*p = l
	if c.pending = append(c.pending, l); len(c.pending) == cap(c.pending) {
		_ = c.flush() // examine returns it
	}
}

// Special implements fsck.Visitor.
func (c *objectChecker) Special(file fsck.SpecialFile, id []byte) {
	c.x.attached.add(attachedFile{ID(id), file})
}

// flush enters the links noted so far. The user of the checker calls it at the end.
func (c *objectChecker) flush() error {
	if err := c.x.links.add(c.pending); err != nil && c.err == nil {
		c.err = err
	}
	c.pending = c.pending[:0]
	return c.err
}

// attachedFile is a blob whose content matters to git itself.
type attachedFile struct {
	id   ID
	file fsck.SpecialFile
}

// attachedSet has the blobs that trees give names like .gitmodules.
type attachedSet struct {
	mu    sync.Mutex
	files map[attachedFile]bool
}

func (s *attachedSet) add(f attachedFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[attachedFile]bool{}
	}
	s.files[f] = true
}
