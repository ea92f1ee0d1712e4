package pack

import "math/bits"

// lengthOrder is the order in which a dynamic block gives the lengths of the codes for code lengths.
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// The alphabets, as table entries that lack only the number of bits.
var (
	literalSymbols    [288]uint32
	distanceSymbols   [32]uint32
	lengthCodeSymbols [19]uint32
)

// The tables of blocks with fixed codes.
var (
	fixedLiterals  [1 << literalBits]uint32
	fixedDistances [32]uint32
)

func init() {
	const invalid = invalidCode &^ 0xff
	for i := range 256 {
		literalSymbols[i] = flagLiteral | uint32(i)<<16
	}
	literalSymbols[256] = flagEnd
	base, extra := uint32(3), uint32(0)
	for i := uint32(0); i < 28; i++ {
		if i >= 8 {
			extra = i/4 - 1
		}
		literalSymbols[257+i] = base<<16 | extra<<8
		base += 1 << extra
	}
	literalSymbols[285] = 258 << 16
	literalSymbols[286], literalSymbols[287] = invalid, invalid
	base, extra = 1, 0
	for i := range uint32(30) {
		if i >= 4 {
			extra = i/2 - 1
		}
		distanceSymbols[i] = base<<16 | extra<<8
		base += 1 << extra
	}
	distanceSymbols[30], distanceSymbols[31] = invalid, invalid
	for i := range lengthCodeSymbols {
		lengthCodeSymbols[i] = uint32(i) << 16
	}
	var literal [288]uint8
	for i := range literal {
		switch {
		case i < 144, i >= 280:
			literal[i] = 8
		case i < 256:
			literal[i] = 9
		default:
			literal[i] = 7
		}
	}
	var distance [32]uint8
	for i := range distance {
		distance[i] = 5
	}
	buildTable(fixedLiterals[:], literalBits, literal[:], literalSymbols[:])
	buildTable(fixedDistances[:], 5, distance[:], distanceSymbols[:])
}

// buildTable makes a decode table for the canonical code with these lengths, at most first bits wide, with subtables behind
// it for longer codes. It returns the width; ok is false for a set of lengths that is no code. As zlib does it allows a
// code without symbols, which fails when it is used, and one with a single symbol of one bit.
func buildTable(table []uint32, first uint, lengths []uint8, symbols []uint32) (width uint, ok bool) {
	var count [16]int
	for _, n := range lengths {
		count[n]++
	}
	used := len(lengths) - count[0]
	count[0] = 0
	longest := uint(15)
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	if used == 0 {
		table[0], table[1] = invalidCode, invalidCode
		return 1, true
	}
	if used == 1 {
		for s, n := range lengths {
			if n == 1 {
				table[0], table[1] = symbols[s]|1, invalidCode
				return 1, true
			}
		}
		return 0, false
	}
	// The first code of each length, and whether the lengths fill the space exactly.
	var next [16]uint32
	var start [17]int
	left, code := 1, uint32(0)
	for n := 1; n <= 15; n++ {
		if left = left<<1 - count[n]; left < 0 {
			return 0, false
		}
		code = (code + uint32(count[n-1])) << 1
		next[n] = code
		start[n+1] = start[n] + count[n]
	}
	if left != 0 {
		return 0, false
	}
	var sorted [320]uint16 // the symbols by length, then by value
	for s, n := range lengths {
		if n != 0 {
			sorted[start[n]] = uint16(s)
			start[n]++
		}
	}
	width = min(first, longest)
	size := 1 << width
	i := 0
	for n := uint(1); n <= width; n++ {
		for c := next[n]; c < next[n]+uint32(count[n]); c++ {
			e := symbols[sorted[i]] | uint32(n)
			i++
			for at := int(bits.Reverse16(uint16(c)) >> (16 - n)); at < size; at += 1 << n {
				table[at] = e
			}
		}
	}
	end, root, sub, subWidth := size, -1, 0, uint(0)
	for n := width + 1; n <= longest; n++ {
		for k := range count[n] {
			reversed := int(bits.Reverse16(uint16(next[n]+uint32(k))) >> (16 - n))
			if at := reversed & (size - 1); at != root {
				root = at
				subWidth = n - width
				free := 1<<subWidth - (count[n] - k)
				for m := n + 1; free > 0 && m <= longest; m++ {
					subWidth++
					free = free<<1 - count[m]
				}
				sub = end
				if end += 1 << subWidth; end > len(table) {
					return 0, false
				}
				table[root] = uint32(sub)<<16 | flagSub | uint32(subWidth)<<8 | uint32(width)
			}
			e := symbols[sorted[i]] | uint32(n-width)
			i++
			for at := reversed >> width; at < 1<<subWidth; at += 1 << (n - width) {
				table[sub+at] = e
			}
		}
	}
	return width, true
}
