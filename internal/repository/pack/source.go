package pack

import (
	"bufio"
	"hash/crc32"
	"io"

	"github.com/gitd-io/gitd/internal/app"
)

// source hands out what the client sent, as it lies in the reader's buffer, and passes on to the sink what was used. It
// never takes more from the reader than was used.
type source struct {
	r     *bufio.Reader
	sink  *sink
	limit int64

	view   []byte // what the reader has buffered
	used   int    // of view
	before int64  // bytes used before view
	crc    uint32 // since mark
	marked int    // where in view the crc is not up to date
}

// offset returns how many bytes were used.
func (s *source) offset() int64 { return s.before + int64(s.used) }

// next returns what is buffered and not used: at least one byte.
func (s *source) next() ([]byte, error) {
	if s.used < len(s.view) {
		return s.view[s.used:], nil
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	if s.before >= s.limit {
		return nil, tooMuch("push a shorter history, for instance from a shallow clone, or leave large files out",
			"the pack is larger than %s", app.Size(s.limit))
	}
	if _, err := s.r.Peek(1); err != nil {
		if err == io.EOF {
			err = damaged("it ends early")
		}
		return nil, err
	}
	n := s.r.Buffered()
	if left := s.limit - s.before; int64(n) > left {
		n = int(left)
	}
	var err error
	s.view, err = s.r.Peek(n)
	return s.view, err
}

// flush passes on what was used of view.
func (s *source) flush() error {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, s.view[s.marked:s.used])
	err := s.sink.write(s.view[:s.used])
	s.before += int64(s.used)
	_, _ = s.r.Discard(s.used)
	s.view, s.used, s.marked = nil, 0, 0
	return err
}

// use takes n bytes of what next returned.
func (s *source) use(n int) { s.used += n }

// byte takes one byte.
func (s *source) byte() (byte, error) {
	if s.used == len(s.view) {
		if _, err := s.next(); err != nil {
			return 0, err
		}
	}
	b := s.view[s.used]
	s.used++
	return b, nil
}

// full takes len(b) bytes.
func (s *source) full(b []byte) error {
	for len(b) > 0 {
		view, err := s.next()
		if err != nil {
			return err
		}
		n := copy(b, view)
		s.use(n)
		b = b[n:]
	}
	return nil
}

// mark begins a new checksum.
func (s *source) mark() { s.crc, s.marked = 0, s.used }

// sinceMark returns the checksum of what was used since mark.
func (s *source) sinceMark() uint32 {
	return crc32.Update(s.crc, crc32.IEEETable, s.view[s.marked:s.used])
}
