package gittest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
)

// Kinds of a pack's entries that are no objects.
const (
	offsetDelta = 6
	refDelta    = 7
)

// Pack makes a pack by hand, sound or not. Entries are written one after the other; each function returns where its entry begins.
type Pack struct{ bytes.Buffer }

// NewPack begins a pack that says that it has so many objects.
func NewPack(objects uint32) *Pack {
	p := &Pack{}
	p.WriteString("PACK\x00\x00\x00\x02")
	_ = binary.Write(p, binary.BigEndian, objects)
	return p
}

// Head writes the head of an entry: its kind, and the size of its content in bytes.
func (p *Pack) Head(kind byte, size int64) {
	c := byte(size&15) | kind<<4
	for size >>= 4; size > 0; size >>= 7 {
		p.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
	}
	p.WriteByte(c)
}

// Deflate writes content, compressed.
func (p *Pack) Deflate(b []byte) {
	z := zlib.NewWriter(p)
	_, _ = z.Write(b)
	_ = z.Close()
}

// Object writes an object.
func (p *Pack) Object(kind byte, b []byte) int {
	at := p.Len()
	p.Head(kind, int64(len(b)))
	p.Deflate(b)
	return at
}

// OffsetDelta writes a delta to the entry at base.
func (p *Pack) OffsetDelta(base int, b []byte) int {
	at := p.Len()
	n := at - base
	p.Head(offsetDelta, int64(len(b)))
	offset := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		offset = append([]byte{0x80 | byte(n&0x7f)}, offset...)
	}
	p.Write(offset)
	p.Deflate(b)
	return at
}

// RefDelta writes a delta to the object with an ID.
func (p *Pack) RefDelta(base [sha1.Size]byte, b []byte) int {
	at := p.Len()
	p.Head(refDelta, int64(len(b)))
	p.Write(base[:])
	p.Deflate(b)
	return at
}

// End writes the checksum, and returns all.
func (p *Pack) End() []byte {
	sum := sha1.Sum(p.Bytes())
	p.Write(sum[:])
	return p.Bytes()
}
