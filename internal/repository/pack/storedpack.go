package pack

import (
	"bytes"
	"encoding/binary"
)

// storedPack is a pack of the repository.
type storedPack struct {
	index []byte // the .idx file
	path  string // of the pack
	data  []byte // the pack, once it was wanted
	count int
}

// sound checks the shape of an index of version 2.
func (p *storedPack) sound() bool {
	b := p.index
	if len(b) < indexFanout+2*20 || string(b[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return false
	}
	last := uint32(0)
	for i := range 256 {
		n := binary.BigEndian.Uint32(b[indexHead+4*i:])
		if n < last {
			return false
		}
		last = n
	}
	p.count = int(last)
	return len(b) >= indexFanout+p.count*28+2*20
}

// find returns where in the pack an object is.
func (p *storedPack) find(id ID) (offset int64, ok bool) {
	b := p.index
	low, high := 0, int(binary.BigEndian.Uint32(b[indexHead+4*int(id[0]):]))
	if id[0] > 0 {
		low = int(binary.BigEndian.Uint32(b[indexHead+4*int(id[0])-4:]))
	}
	ids := b[indexFanout:]
	for low < high {
		mid := int(uint(low+high) / 2)
		switch c := bytes.Compare(ids[mid*20:mid*20+20], id[:]); {
		case c == 0:
			offsets := b[indexFanout+p.count*24:]
			o := binary.BigEndian.Uint32(offsets[mid*4:])
			if o < 1<<31 {
				return int64(o), true
			}
			at := p.count*4 + int(o&^(1<<31))*8
			if at+8+2*20 > len(offsets) {
				return 0, false
			}
			return int64(binary.BigEndian.Uint64(offsets[at:])), true
		case c < 0:
			low = mid + 1
		default:
			high = mid
		}
	}
	return 0, false
}

// open maps the pack.
func (p *storedPack) open() (err error) {
	if p.data == nil {
		p.data, err = mapFile(p.path)
	}
	return err
}

// storedEntry is the header of an entry of a pack.
type storedEntry struct {
	kind uint8
	size int64
	base int64 // offset of a delta's base
	data int64 // offset of the zlib stream
}

func readEntry(pack []byte, find func(ID) (int64, bool), offset int64) (h storedEntry, err error) {
	if offset < headerSize || offset > int64(len(pack))-trailerSize {
		return h, errEntry
	}
	b := pack[offset:]
	i := 1
	h.kind, h.size = b[0]>>4&7, int64(b[0]&15)
	for shift := 4; b[i-1]&0x80 != 0; shift += 7 {
		if shift > 46 || i >= len(b) {
			return h, errEntry
		}
		h.size |= int64(b[i]&0x7f) << shift
		i++
	}
	switch h.kind {
	case kindCommit, kindTree, kindBlob, kindTag:
	case offsetDelta:
		back := int64(-1)
		for more := true; more; i++ {
			if i >= len(b) || back > 1<<54 {
				return h, errEntry
			}
			back = (back+1)<<7 | int64(b[i]&0x7f)
			more = b[i]&0x80 != 0
		}
		if h.base = offset - back; back <= 0 {
			return h, errEntry
		}
	case refDelta:
		if len(b) < i+20 {
			return h, errEntry
		}
		var ok bool
		if h.base, ok = find(ID(b[i : i+20])); !ok {
			return h, errEntry
		}
		i += 20
	default:
		return h, errEntry
	}
	h.data = offset + int64(i)
	return h, nil
}
