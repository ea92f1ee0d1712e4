package pack

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// byStandard inflates with the standard library, and says how much of the input it used.
func byStandard(src []byte) (data []byte, used int, err error) {
	r := bytes.NewReader(src)
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, 0, err
	}
	data, err = io.ReadAll(io.LimitReader(z, 4<<20))
	return data, len(src) - r.Len(), err
}

// inPieces inflates input that comes in pieces, through a sliding or a growing buffer.
func inPieces(src []byte, size int64, piece int, grow bool) (data []byte, used int, err error) {
	z := newInflater(true)
	z.start(make([]byte, inflateWindow+777+inflateSlack), size)
	from := 0
	for {
		n, status, err := z.run(src[used:min(len(src), used+piece)])
		used += n
		if err != nil {
			return nil, used, err
		}
		switch {
		case status == inflated:
			return append(data, z.dst[from:z.out]...), used, nil
		case status == needOutput && grow:
			z.enlarge(make([]byte, 2*len(z.dst)))
		case status == needOutput:
			data = append(data, z.dst[from:z.out]...)
			from = z.slide()
		case used == len(src):
			return nil, used, io.ErrUnexpectedEOF
		case n == 0 && piece > 0 && used+piece <= len(src):
			return nil, used, fmt.Errorf("stuck at %d", used)
		}
	}
}

func checkInflate(t *testing.T, src []byte) {
	want, used, err := byStandard(src)
	if err == nil && len(want) < 4<<20 {
		dst := make([]byte, len(want)+inflateSlack)
		n, got := newInflater(true).one(dst, int64(len(want)), src)
		if got != nil || n != used || !bytes.Equal(dst[:len(want)], want) {
			t.Fatalf("used %d of %d, %v; standard: used %d, %d bytes\n%x", n, len(src), got, used, len(want), src)
		}
		for _, piece := range []int{1, 13, 4096} {
			if piece < len(src)/5000 {
				continue
			}
			for _, grow := range []bool{false, true} {
				data, n, got := inPieces(src, int64(len(want)), piece, grow)
				if got != nil || n != used || !bytes.Equal(data, want) {
					t.Fatalf("in pieces of %d, growing %v: used %d, %v; standard: used %d\n%x", piece, grow, n, got, used, src)
				}
			}
		}
		if len(want) > 0 {
			if _, err := newInflater(true).one(make([]byte, len(want)-1+inflateSlack), int64(len(want)-1), src); err != errOverflow {
				t.Fatalf("more than declared: %v", err)
			}
		}
		if _, err := newInflater(true).one(make([]byte, len(want)+1+inflateSlack), int64(len(want)+1), src); err != errShort {
			t.Fatalf("less than declared: %v", err)
		}
		return
	}
	// What the standard library refuses must be refused whatever size is declared.
	for _, size := range []int64{0, int64(len(want)), 1000} {
		n, got := newInflater(true).one(make([]byte, size+inflateSlack), size, src)
		if got == nil {
			t.Fatalf("took %d of %d bytes; standard: %v\n%x", n, len(src), err, src)
		}
		if _, _, got := inPieces(src, size, 3, false); got == nil {
			t.Fatalf("took it in pieces; standard: %v\n%x", err, src)
		}
	}
}

// samples are data of different kinds for compressors.
func samples() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 70000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	skewed := make([]byte, 200000)
	for i := range skewed {
		skewed[i] = byte(r.ExpFloat64() * 9)
	}
	var words strings.Builder
	for words.Len() < 300000 {
		fmt.Fprintf(&words, "func word%d(a, b int) error { return nil }\n", r.IntN(3000))
	}
	return [][]byte{nil, {0}, []byte("hello, hello, hello"), make([]byte, 100000), noise, noise[:300], skewed, []byte(words.String()),
		bytes.Repeat([]byte("abc"), 50000), append(bytes.Clone(noise[:40000]), noise[:40000]...)}
}

func deflated(data []byte, level int) []byte {
	var b bytes.Buffer
	z, _ := zlib.NewWriterLevel(&b, level)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func TestInflate(t *testing.T) {
	for _, data := range samples() {
		for _, level := range []int{0, 1, 6, 9, zlib.HuffmanOnly} {
			src := deflated(data, level)
			checkInflate(t, append(src, "PACK follows, and more"...))
			if len(src) > 40 {
				for _, n := range []int{1, 2, 5, 7, len(src) / 2, len(src) - 5, len(src) - 1} {
					checkInflate(t, src[:n])
				}
				for i := range 8 {
					bad := bytes.Clone(src)
					bad[i*len(bad)/8] ^= 1 << (i & 7)
					checkInflate(t, bad)
				}
			}
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, data := range samples() {
		f.Add(deflated(data[:min(len(data), 2000)], 9))
		f.Add(deflated(data[:min(len(data), 200)], 1))
	}
	f.Fuzz(func(t *testing.T, src []byte) { checkInflate(t, src) })
}

func BenchmarkInflate(b *testing.B) {
	data := samples()[7]
	src := deflated(data, 6)
	dst := make([]byte, len(data)+inflateSlack)
	b.Run("ours", func(b *testing.B) {
		z := newInflater(true)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := z.one(dst, int64(len(data)), src); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		z, _ := zlib.NewReader(bytes.NewReader(src))
		for b.Loop() {
			_ = z.(zlib.Resetter).Reset(bytes.NewReader(src), nil)
			if _, err := io.ReadFull(z, dst[:len(data)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
