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
	f.Add([]byte("000A00000\xc6"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		p := &Reader{R: r}
		for {
			at := len(in) - r.Len()
			b, err := p.Next()
			var want []byte
			switch {
			case err == ErrFlush:
				want = []byte("0000")
			case err == ErrDelim:
				want = []byte("0001")
			case err == io.EOF:
				if r.Len() != 0 || at != len(in) {
					t.Fatalf("the end was seen at %d of %d", at, len(in))
				}
				return
			case errors.Is(err, ErrProtocol):
				return
			case err != nil:
				t.Fatal(err)
			default:
				want = Append(nil, b)
			}
			got := in[at : len(in)-r.Len()]
			if len(want) > Max || !bytes.Equal(got[4:], want[4:]) || strings.ToLower(string(got[:4])) != string(want[:4]) {
				t.Fatalf("read %q from %q", want, got)
			}
		}
	})
}
