package pack

import (
	"io"

	"github.com/pjbgf/sha1cd"
)

const (
	sinkChunk  = 256 << 10
	sinkChunks = 4
)

// sink writes the pack to its file and computes its checksum, beside the goroutine that reads it.
type sink struct {
	chunk      []byte
	full, free chan []byte
	done       chan struct{}
	hash       sha1cd.CollisionResistantHash
	err        error // valid after done
}

func newSink(w io.Writer) *sink {
	s := &sink{full: make(chan []byte, sinkChunks), free: make(chan []byte, sinkChunks), done: make(chan struct{}),
		hash: sha1cd.New().(sha1cd.CollisionResistantHash)}
	for range sinkChunks {
		s.free <- nil
	}
	go func() {
		defer close(s.done)
		for b := range s.full {
			if s.err == nil {
				_, _ = s.hash.Write(b)
				_, s.err = w.Write(b)
			}
			s.free <- b[:0]
		}
	}()
	return s
}

func (s *sink) write(b []byte) error {
	for len(b) > 0 {
		if s.chunk == nil {
			if s.chunk = <-s.free; s.chunk == nil {
				s.chunk = make([]byte, 0, sinkChunk)
			}
		}
		n := min(len(b), cap(s.chunk)-len(s.chunk))
		s.chunk = append(s.chunk, b[:n]...)
		b = b[n:]
		if len(s.chunk) == cap(s.chunk) {
			s.full <- s.chunk
			s.chunk = nil
		}
	}
	return nil
}

// end writes what is left and returns the checksum. It is called once, also after an error.
func (s *sink) end() (sum ID, err error) {
	if len(s.chunk) > 0 {
		s.full <- s.chunk
	}
	close(s.full)
	<-s.done
	b, attacked := s.hash.CollisionResistantSum(nil)
	copy(sum[:], b)
	if s.err == nil && attacked {
		return sum, damaged("it is part of an attack on SHA-1")
	}
	return sum, s.err
}
