package pack

import (
	"encoding/binary"
	"errors"
	"hash"
	"hash/adler32"
	"math/bits"
)

// Why a zlib stream is no good.
var (
	errCorrupt  = errors.New("corrupt zlib stream")
	errOverflow = errors.New("the data is longer than declared")
	errShort    = errors.New("the data is shorter than declared")
	errAdler    = errors.New("the data does not match its checksum")
)

const (
	// inflateSlack is how many bytes a destination must have beyond the data: a match may begin at its last byte, and
	// copies are made eight bytes at a time.
	inflateSlack = 320
	// inflateWindow is how far back a match may reach (RFC 1951).
	inflateWindow = 32 << 10
)

// inflateStatus says why inflater.run returned.
type inflateStatus uint8

const (
	needInput  inflateStatus = iota // all of the input is used up, and all of it belongs to the stream
	needOutput                      // the destination is full: slide or enlarge it
	inflated                        // the stream is over and sound
)

// Decode table entries: bits 0–7 how many bits the code has, 8–11 how many extra bits follow (or the size of the
// subtable), 13–15 flags, 16–31 the value: a literal, the base of a length or distance, the start of a subtable.
const (
	flagEnd     = 1 << 13 // end of block, or with a value an invalid code
	flagSub     = 1 << 14 // continues in a subtable
	flagLiteral = 1 << 15
	flagAny     = flagEnd | flagSub | flagLiteral

	invalidCode = flagEnd | 1<<16 | 1 // takes one bit
)

// Sizes of the first level of the tables. A block that makes much output earns a larger literal table.
const (
	literalBits      = 9
	largeLiteralBits = 11
	distanceBits     = 8
	lengthCodeBits   = 7

	// Enough for any complete code: RFC 1951's alphabets with subtables for 15 bits.
	literalTableSize  = 4096
	distanceTableSize = 2048
)

// inflater decodes zlib streams (RFC 1950) into memory. The output buffer is the window, so that nothing is copied twice;
// input may come in pieces. It is the work horse: it makes three times what compress/zlib does of a processor second.
type inflater struct {
	dst   []byte
	out   int   // bytes in dst
	limit int   // where dst is full; inflateSlack bytes follow
	gone  int64 // bytes that have left dst
	size  int64 // declared size of all of the data

	hold uint64 // bits of the input not decoded yet, the lowest first
	held uint   // how many

	state  inflateState
	final  bool
	stored int // bytes left in a stored block

	// The header of a dynamic block.
	literals, distances, lengthCodes, done int

	check  bool // whether to verify the checksum
	summed int  // bytes of dst that sum has seen
	sum    hash.Hash32

	lit, dist         []uint32
	litMask, distMask uint64
	lens              [320]uint8
	order             [19]uint8
	pre               [1 << lengthCodeBits]uint32
	preMask           uint64
	litTable          [literalTableSize]uint32
	distTable         [distanceTableSize]uint32
}

type inflateState uint8

const (
	atZlibHeader inflateState = iota
	atBlock
	atStoredSize
	inStored
	atCounts
	inOrder
	inLengths
	inSymbols
	atTrailer
	atEnd
)

func newInflater(check bool) *inflater { return &inflater{check: check, sum: adler32.New()} }

// start begins a stream of size bytes when inflated. dst must have inflateSlack bytes more than it is to hold.
func (z *inflater) start(dst []byte, size int64) {
	z.dst, z.out, z.limit = dst, 0, len(dst)-inflateSlack
	z.gone, z.size = 0, size
	z.hold, z.held = 0, 0
	z.state, z.final = atZlibHeader, false
	z.summed = 0
	if z.check {
		z.sum.Reset()
	}
}

// slide makes room after needOutput, once the caller has used dst[:out]: the window moves to the front. It returns where
// new data begins.
func (z *inflater) slide() int {
	z.addSum()
	keep := min(z.out, inflateWindow)
	copy(z.dst, z.dst[z.out-keep:z.out])
	z.gone += int64(z.out - keep)
	z.out, z.summed = keep, keep
	return keep
}

// enlarge makes room after needOutput with a longer destination.
func (z *inflater) enlarge(dst []byte) {
	copy(dst, z.dst[:z.out])
	z.dst, z.limit = dst, len(dst)-inflateSlack
}

func (z *inflater) addSum() {
	if z.check {
		_, _ = z.sum.Write(z.dst[z.summed:z.out])
	}
	z.summed = z.out
}

// one inflates a whole stream at the start of src into dst, which must have inflateSlack bytes more than size. It returns
// the number of bytes that the stream takes.
func (z *inflater) one(dst []byte, size int64, src []byte) (int, error) {
	z.start(dst, size)
	n, status, err := z.run(src)
	if err == nil && status != inflated {
		err = errCorrupt
	}
	return n, err
}

// bitsAtLeast fills hold up to n bits, n ≤ 32, from src[in:].
func (z *inflater) bitsAtLeast(n uint, src []byte, in int) (int, bool) {
	for z.held < n {
		if in == len(src) {
			return in, false
		}
		z.hold |= uint64(src[in]) << z.held
		z.held += 8
		in++
	}
	return in, true
}

func (z *inflater) drop(n uint) {
	z.hold >>= n
	z.held -= n
}

// run decodes until src or dst is used up or the stream ends. It returns how many bytes of src it used; after inflated,
// those that follow are not part of the stream.
func (z *inflater) run(src []byte) (n int, status inflateStatus, err error) {
	in, ok := 0, true
	for {
		switch z.state {
		case atZlibHeader:
			if in, ok = z.bitsAtLeast(16, src, in); !ok {
				return in, needInput, nil
			}
			method, flags := z.hold&0xff, z.hold>>8&0xff
			if method&15 != 8 || method>>4 > 7 || (method<<8|flags)%31 != 0 || flags&0x20 != 0 {
				return in, 0, errCorrupt
			}
			z.drop(16)
			z.state = atBlock
		case atBlock:
			if in, ok = z.bitsAtLeast(3, src, in); !ok {
				return in, needInput, nil
			}
			z.final = z.hold&1 != 0
			kind := z.hold >> 1 & 3
			z.drop(3)
			switch kind {
			case 0:
				z.drop(z.held & 7)
				z.state = atStoredSize
			case 1:
				z.lit, z.litMask = fixedLiterals[:], 1<<literalBits-1
				z.dist, z.distMask = fixedDistances[:], 31
				z.state = inSymbols
			case 2:
				z.state = atCounts
			default:
				return in, 0, errCorrupt
			}
		case atStoredSize:
			if in, ok = z.bitsAtLeast(32, src, in); !ok {
				return in, needInput, nil
			}
			z.stored = int(z.hold & 0xffff)
			if z.hold>>16&0xffff^0xffff != uint64(z.stored) {
				return in, 0, errCorrupt
			}
			z.drop(32)
			if z.gone+int64(z.out+z.stored) > z.size {
				return in, 0, errOverflow
			}
			z.state = inStored
		case inStored:
			for z.stored > 0 {
				if z.out >= z.limit {
					return in, needOutput, nil
				}
				if z.held > 0 { // bytes that are with the bits already
					z.dst[z.out] = byte(z.hold)
					z.drop(8)
					z.out++
					z.stored--
					continue
				}
				if in == len(src) {
					return in, needInput, nil
				}
				k := copy(z.dst[z.out:z.limit], src[in:min(len(src), in+z.stored)])
				in, z.out, z.stored = in+k, z.out+k, z.stored-k
			}
			z.endBlock()
		case atCounts:
			if in, ok = z.bitsAtLeast(14, src, in); !ok {
				return in, needInput, nil
			}
			z.literals, z.distances = int(z.hold&31)+257, int(z.hold>>5&31)+1
			z.lengthCodes, z.done = int(z.hold>>10&15)+4, 0
			z.drop(14)
			if z.literals > 286 || z.distances > 30 {
				return in, 0, errCorrupt
			}
			z.order = [19]uint8{}
			z.state = inOrder
		case inOrder:
			for ; z.done < z.lengthCodes; z.done++ {
				if in, ok = z.bitsAtLeast(3, src, in); !ok {
					return in, needInput, nil
				}
				z.order[lengthOrder[z.done]] = uint8(z.hold & 7)
				z.drop(3)
			}
			n, ok := buildTable(z.pre[:], lengthCodeBits, z.order[:], lengthCodeSymbols[:])
			if !ok {
				return in, 0, errCorrupt
			}
			z.preMask, z.done = 1<<n-1, 0
			z.state = inLengths
		case inLengths:
			if in, ok, err = z.readLengths(src, in); err != nil {
				return in, 0, err
			} else if !ok {
				return in, needInput, nil
			}
			if err := z.buildBlock(); err != nil {
				return in, 0, err
			}
			z.state = inSymbols
		case inSymbols:
			if in, status, err = z.symbols(src, in); err != nil || status != inflated {
				return in, status, err
			}
			z.endBlock()
		case atTrailer:
			if in, ok = z.bitsAtLeast(32, src, in); !ok {
				return in, needInput, nil
			}
			if z.gone+int64(z.out) != z.size {
				return in, 0, errShort
			}
			z.addSum()
			if z.check && z.sum.Sum32() != bits.ReverseBytes32(uint32(z.hold)) {
				return in, 0, errAdler
			}
			z.drop(32)
			in -= int(z.held / 8) // whole bytes that were read ahead; they came with this src
			z.hold, z.held = 0, 0
			z.state = atEnd
		default:
			return in, inflated, nil
		}
	}
}

func (z *inflater) endBlock() {
	z.state = atBlock
	if z.final {
		z.drop(z.held & 7)
		z.state = atTrailer
	}
}

// readLengths decodes the lengths of the codes of a dynamic block.
func (z *inflater) readLengths(src []byte, in int) (int, bool, error) {
	total := z.literals + z.distances
	for z.done < total {
		for z.held <= 32 && in < len(src) {
			z.hold |= uint64(src[in]) << z.held
			z.held += 8
			in++
		}
		e := z.pre[z.hold&z.preMask]
		n, symbol := uint(e&0xff), e>>16
		if n > z.held {
			return in, false, nil
		}
		if e&flagAny == flagEnd {
			return in, false, errCorrupt
		}
		if symbol < 16 {
			z.drop(n)
			z.lens[z.done] = uint8(symbol)
			z.done++
			continue
		}
		value, extra, least := uint8(0), uint(7), 11
		switch symbol {
		case 16:
			if z.done == 0 {
				return in, false, errCorrupt
			}
			value, extra, least = z.lens[z.done-1], 2, 3
		case 17:
			extra, least = 3, 3
		}
		if n+extra > z.held {
			return in, false, nil
		}
		repeat := least + int(z.hold>>n&(1<<extra-1))
		z.drop(n + extra)
		if z.done+repeat > total {
			return in, false, errCorrupt
		}
		for range repeat {
			z.lens[z.done] = value
			z.done++
		}
	}
	return in, true, nil
}

// buildBlock makes the tables of a dynamic block from the lengths of its codes.
func (z *inflater) buildBlock() error {
	if z.lens[256] == 0 { // no end of block
		return errCorrupt
	}
	first := uint(literalBits)
	if z.size-z.gone-int64(z.out) > 16<<10 {
		first = largeLiteralBits
	}
	n, ok := buildTable(z.litTable[:], first, z.lens[:z.literals], literalSymbols[:])
	if !ok {
		return errCorrupt
	}
	m, ok := buildTable(z.distTable[:], distanceBits, z.lens[z.literals:z.literals+z.distances], distanceSymbols[:])
	if !ok {
		return errCorrupt
	}
	z.lit, z.litMask = z.litTable[:], 1<<n-1
	z.dist, z.distMask = z.distTable[:], 1<<m-1
	return nil
}

// symbols decodes the body of a block; inflated means that the block is over.
func (z *inflater) symbols(src []byte, in int) (int, inflateStatus, error) {
	room := z.size - z.gone // dst may hold this much
	for {
		var end bool
		var err error
		if in, end, err = z.fastSymbols(src, in); err != nil || end {
			return in, inflated, err
		}
		if int64(z.out) > room {
			return in, 0, errOverflow
		}
		// One symbol with care: near the end of the input, or of the output.
		for z.held < 56 && in < len(src) {
			z.hold |= uint64(src[in]) << z.held
			z.held += 8
			in++
		}
		hold, used := z.hold, uint(0)
		e := z.lit[hold&z.litMask]
		if e&flagSub != 0 {
			used = uint(e & 0xff)
			e = z.lit[uint64(e>>16)+hold>>used&(1<<(e>>8&15)-1)]
		}
		used += uint(e & 0xff)
		if used > z.held {
			return in, needInput, nil
		}
		if e&flagEnd != 0 {
			if e>>16 != 0 {
				return in, 0, errCorrupt
			}
			z.drop(used)
			return in, inflated, nil
		}
		if e&flagLiteral != 0 {
			if int64(z.out) >= room {
				return in, 0, errOverflow
			}
			if z.out >= z.limit {
				return in, needOutput, nil
			}
			z.dst[z.out] = byte(e >> 16)
			z.out++
			z.drop(used)
			continue
		}
		extra := uint(e >> 8 & 15)
		length := int(e>>16) + int(hold>>used&(1<<extra-1))
		used += extra
		e = z.dist[hold>>used&z.distMask]
		if e&flagSub != 0 {
			used += uint(e & 0xff)
			e = z.dist[uint64(e>>16)+hold>>used&(1<<(e>>8&15)-1)]
		}
		used += uint(e & 0xff)
		if used > z.held {
			return in, needInput, nil
		}
		if e&flagAny != 0 {
			return in, 0, errCorrupt
		}
		extra = uint(e >> 8 & 15)
		distance := int(e>>16) + int(hold>>used&(1<<extra-1))
		if used += extra; used > z.held {
			return in, needInput, nil
		}
		if distance > z.out {
			return in, 0, errCorrupt
		}
		if int64(z.out+length) > room {
			return in, 0, errOverflow
		}
		if z.out >= z.limit {
			return in, needOutput, nil
		}
		for range length {
			z.dst[z.out] = z.dst[z.out-distance]
			z.out++
		}
		z.drop(used)
	}
}

// fastSymbols decodes while there is input for any symbol and output for any match. It may exceed the declared size by a
// few symbols, inside of the slack; the caller looks. end says that the block is over.
func (z *inflater) fastSymbols(src []byte, in int) (_ int, end bool, err error) {
	dst, lit, dist, litMask, distMask := z.dst, z.lit, z.dist, z.litMask, z.distMask
	hold, held, out := z.hold, z.held, z.out
	stop := z.limit
	if room := z.size - z.gone; int64(stop) > room {
		stop = int(room)
	}
	for out < stop && len(src)-in >= 8 {
		hold |= binary.LittleEndian.Uint64(src[in:]) << held
		in += int((63 - held) >> 3)
		held |= 56
		e := lit[hold&litMask]
		if e&flagLiteral != 0 {
			hold >>= e & 63
			held -= uint(e & 63)
			dst[out] = byte(e >> 16)
			out++
			if e = lit[hold&litMask]; e&flagLiteral != 0 {
				hold >>= e & 63
				held -= uint(e & 63)
				dst[out] = byte(e >> 16)
				out++
				if e = lit[hold&litMask]; e&flagLiteral != 0 {
					hold >>= e & 63
					held -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
			if held < 48 { // not enough for the longest length with the longest distance
				continue
			}
		}
		if e&(flagSub|flagEnd) != 0 {
			if e&flagSub != 0 {
				hold >>= e & 63
				held -= uint(e & 63)
				e = lit[uint64(e>>16)+hold&(1<<(e>>8&15)-1)]
				if e&flagLiteral != 0 {
					hold >>= e & 63
					held -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
			if e&flagEnd != 0 {
				if e>>16 != 0 {
					err = errCorrupt
				} else {
					end = true
					hold >>= e & 63
					held -= uint(e & 63)
				}
				break
			}
		}
		hold >>= e & 63
		held -= uint(e & 63)
		extra := e >> 8 & 15
		length := int(e>>16) + int(hold&(1<<extra-1))
		hold >>= extra
		held -= uint(extra)
		e = dist[hold&distMask]
		if e&flagSub != 0 {
			hold >>= e & 63
			held -= uint(e & 63)
			e = dist[uint64(e>>16)+hold&(1<<(e>>8&15)-1)]
		}
		if e&flagAny != 0 {
			err = errCorrupt
			break
		}
		hold >>= e & 63
		held -= uint(e & 63)
		extra = e >> 8 & 15
		distance := int(e>>16) + int(hold&(1<<extra-1))
		hold >>= extra
		held -= uint(extra)
		if distance > out {
			err = errCorrupt
			break
		}
		from, to := out-distance, out+length
		switch {
		case distance >= length && length > 32:
			copy(dst[out:to], dst[from:from+length])
		case distance >= 8:
			for ; out < to; out, from = out+8, from+8 {
				binary.LittleEndian.PutUint64(dst[out:], binary.LittleEndian.Uint64(dst[from:]))
			}
		case distance == 1:
			b := dst[from]
			run := dst[out:to]
			for i := range run {
				run[i] = b
			}
		default:
			for ; out < to; out, from = out+1, from+1 {
				dst[out] = dst[from]
			}
		}
		out = to
	}
	// A refill may have set bits above held that it counts again next time: the slow path must not see them.
	hold &= 1<<held - 1
	z.hold, z.held, z.out = hold, held, out
	return in, end, err
}
