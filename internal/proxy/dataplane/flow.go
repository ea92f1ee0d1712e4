package dataplane

import (
	"bytes"
	"errors"
	"io"
)

// flow is the body of an answer, as it comes over a link.
type flow struct {
	*link
	kind   flowKind
	left   int64 // of the body, or of the chunk
	begun  bool  // a chunk was read: its end comes before the next one's line
	excess int64 // octets that are no data, above what is usual
	refill func() error
	flush  func() error // what was passed on and is held back somewhere reaches the client; nil where that is nothing
	// trailers are what follows the last chunk: lines, with the empty one at their end. Usually that one alone.
	trailers []byte
}

// flowKind is how a body says where it ends.
type flowKind int

const (
	byLength flowKind = iota
	byChunks
	byClose
)

var errChunks = errors.New("the app's chunks are not valid")

const (
	mostChunkLine = 4 << 10
	mostTrailers  = 16 << 10
	mostExcess    = 16 << 10
)

// flow returns the body that follows h. refill reads more into the link.
func (l *link) flow(h *head, bodyless bool, refill func() error) flow {
	f := flow{link: l, refill: refill}
	switch {
	case bodyless:
	case h.chunked:
		f.kind = byChunks
	case h.length >= 0:
		f.left = h.length
	default:
		f.kind = byClose
	}
	return f
}

// next returns what comes next of the body, which is valid until it is called again. At the end it returns io.EOF.
func (f *flow) next() ([]byte, error) {
	if f.kind == byChunks && f.left == 0 {
		if err := f.chunk(); err != nil {
			return nil, err
		}
	}
	if f.kind == byLength && f.left == 0 {
		return nil, io.EOF
	}
	if f.from == f.to {
		if f.kind == byClose {
			if err := f.read(); err != nil {
				return nil, err
			}
		} else if err := f.more(); err != nil {
			return nil, err
		}
	}
	b := f.buffer[f.from:f.to]
	if f.kind != byClose {
		if int64(len(b)) > f.left {
			b = b[:f.left]
		}
		f.left -= int64(len(b))
	}
	f.from += len(b)
	return b, nil
}

// line returns the next line, without its end.
func (f *flow) line() ([]byte, error) {
	for looked := 0; ; {
		b := f.buffer[f.from:f.to]
		if i := bytes.IndexByte(b[looked:], '\n'); i >= 0 {
			i += looked
			if i == 0 || bytes.IndexByte(b[:i], '\r') != i-1 {
				return nil, errChunks
			}
			f.from += i + 1
			return b[:i-1], nil
		}
		if looked = len(b); looked > mostChunkLine {
			return nil, errChunks
		}
		if err := f.more(); err != nil {
			return nil, err
		}
	}
}

// read reads more. It may take long: nothing is held back meanwhile.
func (f *flow) read() error {
	if f.flush != nil {
		if err := f.flush(); err != nil {
			return err
		}
	}
	return f.refill()
}

// more reads what must come.
func (f *flow) more() error {
	err := f.read()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunk reads the line that begins a chunk. After the last one it returns io.EOF, with the trailers read.
func (f *flow) chunk() error {
	if f.begun {
		for f.to-f.from < 2 {
			if err := f.more(); err != nil {
				return err
			}
		}
		if f.buffer[f.from] != '\r' || f.buffer[f.from+1] != '\n' {
			return errChunks
		}
		f.from += 2
	}
	f.begun = true
	b, err := f.line()
	if err != nil {
		return err
	}
	f.excess += int64(len(b)) + 2
	b = bytes.TrimRight(b, " \t")
	if i := bytes.IndexByte(b, ';'); i >= 0 { // extensions concern this connection
		b = b[:i]
	}
	n, ok := hexadecimal(b)
	if !ok {
		return errChunks
	}
	f.excess = max(f.excess-16-2*n, 0) // as net/http counts it
	if f.excess > mostExcess {
		return errChunks
	}
	if f.left = n; n > 0 {
		return nil
	}
	for {
		b, err := f.line()
		if err != nil {
			return err
		}
		f.trailers = append(append(f.trailers, b...), '\r', '\n')
		if len(b) == 0 {
			return io.EOF
		}
		if len(f.trailers) > mostTrailers {
			return errChunks
		}
	}
}

// hexadecimal reads the size of a chunk.
func hexadecimal(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 15 {
		return 0, false
	}
	for _, c := range v {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

// whole says whether all that is to come is in the buffer.
func (f *flow) whole() bool {
	return f.kind == byLength && f.left <= int64(f.to-f.from)
}
