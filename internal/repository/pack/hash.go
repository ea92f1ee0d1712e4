package pack

import (
	"strconv"

	"github.com/pjbgf/sha1cd"
)

// objectHash names objects. It is SHA-1 that notices the known attacks on it.
type objectHash struct {
	sha1cd.CollisionResistantHash
	head     [32]byte
	headless bool
}

func newObjectHash(x *indexer) *objectHash {
	return &objectHash{CollisionResistantHash: sha1cd.New().(sha1cd.CollisionResistantHash), headless: x.headless}
}

// begin starts an object of size bytes, which are then written.
func (h *objectHash) begin(kind uint8, size int64) {
	h.Reset()
	if h.headless {
		return
	}
	b := append(h.head[:0], kindNames[kind]...)
	b = strconv.AppendInt(append(b, ' '), size, 10)
	_, _ = h.Write(append(b, 0))
}

// end returns the name.
func (h *objectHash) end() (id ID, err error) {
	var sum [20]byte
	b, attacked := h.CollisionResistantSum(sum[:0])
	copy(id[:], b)
	if attacked {
		return id, damaged("object %.12s is part of an attack on SHA-1", id)
	}
	return id, nil
}

// of names an object.
func (h *objectHash) of(kind uint8, data []byte) (ID, error) {
	h.begin(kind, int64(len(data)))
	_, _ = h.Write(data)
	return h.end()
}
