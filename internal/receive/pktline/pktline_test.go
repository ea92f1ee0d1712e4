package pktline

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	p := &Reader{R: strings.NewReader("0009hello000ahello\n0004" + "00010000")}
	for _, want := range []string{"hello", "hello", ""} {
		if b, err := p.Line(); err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
	}
	for _, want := range []error{ErrDelim, ErrFlush, io.EOF} {
		if _, err := p.Next(); err != want {
			t.Errorf("%v; want %v", err, want)
		}
	}
	for _, bad := range []string{"0002", "0003", "fff5", "ffff", "zzzz", "00", "0009hell", " 004", "-001", "0x04"} {
		if _, err := (&Reader{R: strings.NewReader(bad)}).Next(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzPktLine checks a stream of packets against what it must be by its own definition: what is read, written again, is what came in.
func FuzzPktLine(f *testing.F) {
	f.Add([]byte("0009hello000ahello\n00040001" + "0000"))
	f.Add([]byte("fff0"))
	f.Add([]byte("fff1"))
	f.Add([]byte("0003"))
	f.Add([]byte("000Ahello\n"))
	f.Add([]byte("0032want 1234567890123456789012345678901234567890\n0000"))
	f.Add([]byte("00000000PACK"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		p := &Reader{R: r}
		var out []byte
		for {
			b, err := p.Next()
			switch {
			case err == ErrFlush:
				out = append(out, "0000"...)
				continue
			case err == ErrDelim:
				out = append(out, "0001"...)
				continue
			case err == io.EOF:
				if r.Len() != 0 || !bytes.EqualFold(out, in) {
					t.Fatalf("read %q from %q", out, in)
				}
				return
			case err != nil:
				if !errors.Is(err, ErrProtocol) {
					t.Fatal(err)
				}
				done := len(in) - r.Len()
				if !bytes.HasPrefix(bytes.ToLower(in[:done]), bytes.ToLower(out)) {
					t.Fatalf("read %q from %q", out, in)
				}
				return
			}
			if len(b) > MaxContent {
				t.Fatalf("a packet of %d bytes", len(b))
			}
			out = Append(out, b)
		}
	})
}
