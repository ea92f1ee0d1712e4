package pack

import "math/bits"

// deltaLeast is the size of the smallest delta that git takes.
const deltaLeast = 4

// deltaSizes reads the sizes of the base and of the result at the beginning of a delta, and returns its instructions.
func deltaSizes(delta []byte) (base, result int64, instructions []byte, err error) {
	if len(delta) < deltaLeast {
		return 0, 0, nil, damaged("a delta is not sound")
	}
	if base, delta, err = deltaSize(delta); err != nil {
		return 0, 0, nil, err
	}
	result, delta, err = deltaSize(delta)
	return base, result, delta, err
}

func deltaSize(b []byte) (n int64, rest []byte, err error) {
	for i, c := range b {
		if i > 8 {
			break
		}
		n |= int64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return n, b[i+1:], nil
		}
	}
	return 0, nil, damaged("a delta is not sound")
}

// applyDelta makes result, all of it, from base and the instructions of a delta.
func applyDelta(result, base, instructions []byte) error {
	at := 0
	d := instructions
	for len(d) > 0 {
		c := d[0]
		d = d[1:]
		if c&0x80 == 0 { // insert
			n := int(c)
			if n == 0 || n > len(d) || n > len(result)-at {
				return damaged("a delta is not sound")
			}
			copy(result[at:], d[:n])
			at, d = at+n, d[n:]
			continue
		}
		if len(d) < bits.OnesCount8(c&0x7f) {
			return damaged("a delta is not sound")
		}
		var from, n uint32
		k := 0
		for i := range 4 {
			if c>>i&1 != 0 {
				from |= uint32(d[k]) << (8 * i)
				k++
			}
		}
		for i := range 3 {
			if c>>(4+i)&1 != 0 {
				n |= uint32(d[k]) << (8 * i)
				k++
			}
		}
		d = d[k:]
		if n == 0 {
			n = 1 << 16
		}
		if uint64(from)+uint64(n) > uint64(len(base)) || int(n) > len(result)-at {
			return damaged("a delta is not sound")
		}
		copy(result[at:at+int(n)], base[from:])
		at += int(n)
	}
	if at != len(result) {
		return damaged("a delta is not sound")
	}
	return nil
}
