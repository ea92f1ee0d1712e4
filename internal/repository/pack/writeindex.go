package pack

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"io"
	"os"
	"slices"
)

// sort returns the entries by name.
func (x *indexer) sort() ([]int32, error) {
	order := make([]int32, x.total)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return bytes.Compare(x.at(a).id[:], x.at(b).id[:]) })
	for i, k := range order[1:] {
		if x.at(k).id == x.at(order[i]).id {
			return nil, damaged("object %.12s appears in it twice", x.at(k).id)
		}
	}
	return order, nil
}

// lookup finds an entry by name.
func (x *indexer) lookup(order []int32, id ID) (int32, bool) {
	i, ok := slices.BinarySearchFunc(order, id, func(i int32, id ID) int { return bytes.Compare(x.at(i).id[:], id[:]) })
	if !ok {
		return 0, false
	}
	return order[i], true
}

// writeIndex writes the pack's index, version 2.
func (x *indexer) writeIndex(f *os.File, order []int32) error {
	sum := sha1.New()
	file := bufio.NewWriterSize(f, 64<<10)
	w := bufio.NewWriterSize(io.MultiWriter(file, sum), 16<<10)
	var word [8]byte
	put := func(n uint32) {
		binary.BigEndian.PutUint32(word[:], n)
		_, _ = w.Write(word[:4])
	}
	_, _ = w.WriteString("\xfftOc\x00\x00\x00\x02")
	n := 0
	for first := range 256 {
		for n < len(order) && int(x.at(order[n]).id[0]) == first {
			n++
		}
		put(uint32(n))
	}
	for _, i := range order {
		_, _ = w.Write(x.at(i).id[:])
	}
	for _, i := range order {
		put(x.at(i).crc)
	}
	large := uint32(0)
	for _, i := range order {
		if o := x.at(i).offset; o < 1<<31 {
			put(uint32(o))
		} else {
			put(1<<31 | large)
			large++
		}
	}
	for _, i := range order {
		if o := x.at(i).offset; o >= 1<<31 {
			binary.BigEndian.PutUint64(word[:], uint64(o))
			_, _ = w.Write(word[:])
		}
	}
	_, _ = w.Write(x.sum[:])
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := file.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return file.Flush()
}
