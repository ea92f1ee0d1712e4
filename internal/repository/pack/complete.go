package pack

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"github.com/pjbgf/sha1cd"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// complete resolves the deltas on objects that the pack does not have, and appends those objects to it: a pack in a
// repository must not depend on another.
func (x *indexer) complete() (err error) {
	waiting := x.unresolved()
	if len(waiting) == 0 {
		return nil
	}
	end := x.end
	w := newResolver(x)
	defer w.close(&err)
	// The deltas come in the order of the pack: most bases come before what is built on them, so that few objects are added.
	for _, ref := range waiting {
		if x.at(ref.entry).kind != 0 {
			continue
		}
		base, err := x.store.read(ref.base)
		if errors.Is(err, errMissing) {
			continue // perhaps another delta makes it
		}
		if err != nil {
			return err
		}
		if id, err := w.checker.hash.of(base.kind, base.data); err != nil || id != ref.base {
			return damaged("object %.12s of the repository is not what it should be", ref.base)
		}
		i, n, err := x.append(ref.base, base, end)
		if err != nil {
			return err
		}
		end += n
		from, to := x.claim(ref.base)
		if err := w.branch(frame{entry: i, data: base.data, foreign: true, child: -1, ref: from, refsEnd: to}); err != nil {
			return err
		}
		x.doneReading()
	}
	if left := x.unresolved(); len(left) > 0 {
		return app.Wrap(ErrIncomplete, app.CodeInvalidInput, "check your repository with git fsck, and push again",
			"the pack is damaged: object %.12s is missing, which a delta builds on", left[0].base)
	}
	x.result.Completed = x.total - x.count
	return x.reseal(end)
}

// unresolved returns the deltas that wait for an object, in the order of the pack.
func (x *indexer) unresolved() (waiting []refChild) {
	for _, ref := range x.refs {
		if x.at(ref.entry).kind == 0 {
			waiting = append(waiting, ref)
		}
	}
	slices.SortFunc(waiting, func(a, b refChild) int { return cmp.Compare(a.entry, b.entry) })
	return waiting
}

// append writes an object of the repository at the end of the pack.
func (x *indexer) append(id ID, o object, at int64) (i int32, n int64, err error) {
	var b bytes.Buffer
	left := len(o.data)
	c := o.kind<<4 | byte(left&15)
	for left >>= 4; left > 0; left >>= 7 {
		b.WriteByte(c | 0x80)
		c = byte(left & 0x7f)
	}
	b.WriteByte(c)
	header := b.Len()
	if o.raw != nil {
		b.Write(o.raw)
	} else {
		z := zlib.NewWriter(&b)
		if _, err := z.Write(o.data); err != nil {
			return 0, 0, err
		}
		if err := z.Close(); err != nil {
			return 0, 0, err
		}
	}
	if _, err := x.file.WriteAt(b.Bytes(), at); err != nil {
		return 0, 0, err
	}
	return x.add(entry{offset: at, size: uint32(len(o.data)), crc: crc32.ChecksumIEEE(b.Bytes()), id: id, child: -1, sibling: -1,
		header: uint8(header), stored: o.kind, kind: o.kind}), int64(b.Len()), nil
}

// reseal gives the pack its new number of objects and its new checksum.
func (x *indexer) reseal(end int64) error {
	var count [4]byte
	binary.BigEndian.PutUint32(count[:], uint32(x.total))
	if _, err := x.file.WriteAt(count[:], 8); err != nil {
		return err
	}
	h := sha1cd.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(x.file, 0, end), make([]byte, 256<<10)); err != nil {
		return err
	}
	h.Sum(x.sum[:0])
	if _, err := x.file.WriteAt(x.sum[:], end); err != nil {
		return err
	}
	if err := x.file.Truncate(end + trailerSize); err != nil {
		return err
	}
	_ = unix.Munmap(x.data)
	x.data, x.end = nil, end
	return x.mapPack()
}
