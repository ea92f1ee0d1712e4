package pack

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync"
)

// link is that an object of some kind is referred to.
type link struct {
	id   ID
	kind uint8
}

// linkSet has what the objects of a pack refer to, each object once. It is a hash table with open addressing: a map would
// take three times the memory.
type linkSet struct {
	mu    sync.Mutex
	limit int // more cannot be, if nothing is missing
	slots []linkSlot
	used  int
	seed  [2]uint64 // or a stranger could choose ids that collide

	offHeap bool // slots are
}

type linkSlot struct {
	link       // kind 0: free
	found bool // in the pack
}

func (s *linkSet) slot(id ID) *linkSlot {
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(id[:])^s.seed[0]^uint64(binary.LittleEndian.Uint32(id[16:])), binary.LittleEndian.Uint64(id[8:])^s.seed[1])
	mask := uint64(len(s.slots) - 1)
	for i := (hi ^ lo) & mask; ; i = (i + 1) & mask {
		if p := &s.slots[i]; p.kind == 0 || p.id == id {
			return p
		}
	}
}

// add enters links.
func (s *linkSet) add(links []link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range links {
		if s.used*4 >= len(s.slots)*3 {
			s.grow()
		}
		p := s.slot(l.id)
		if p.kind == 0 {
			if s.used >= s.limit {
				return incomplete("it refers to more objects than there are")
			}
			p.link = l
			s.used++
		} else if p.kind != l.kind {
			return damaged("object %.12s is taken for a %s and for a %s", l.id, kindNames[p.kind], kindNames[l.kind])
		}
	}
	return nil
}

func (s *linkSet) grow() {
	old, wasOffHeap, n := s.slots, s.offHeap, max(2*len(s.slots), 1<<10)
	s.slots, s.offHeap = nil, false
	if n >= 1<<15 {
		if b, err := newOffHeap[linkSlot](n); err == nil {
			s.slots, s.offHeap = b, true
		}
	}
	if s.slots == nil {
		s.slots = make([]linkSlot, n)
	}
	if s.seed[0] == 0 {
		s.seed = [2]uint64{rand.Uint64() | 1, rand.Uint64()}
	}
	for _, p := range old {
		if p.kind != 0 {
			*s.slot(p.id) = p
		}
	}
	if wasOffHeap {
		freeOffHeap(old)
	}
}

// free gives the slots back.
func (s *linkSet) free() {
	if s.offHeap {
		freeOffHeap(s.slots)
	}
	s.slots, s.used, s.offHeap = nil, 0, false
}
