package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gitd-io/gitd/internal/app"
)

// decompress detects the compression by the first bytes: media types are not always right.
func decompress(r *bufio.Reader) (io.ReadCloser, error) {
	magic, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// contextReader fails when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// capped fails when more is read than is left.
type capped struct {
	r    io.Reader
	left *int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if *c.left -= int64(n); *c.left < 0 {
		return 0, app.Errorf(app.CodeLimitExceeded, "make the image smaller", "the layer is too large")
	}
	return n, err
}

// readAhead decompresses on another core while this one writes files.
func readAhead(r io.Reader) io.ReadCloser {
	a := &ahead{full: make(chan []byte, 4), free: make(chan []byte, 4), stop: make(chan struct{}), done: make(chan struct{})}
	for range cap(a.free) {
		a.free <- make([]byte, 256<<10)
	}
	go func() {
		defer close(a.done)
		defer close(a.full)
		for {
			var b []byte
			select {
			case b = <-a.free:
			case <-a.stop:
				return
			}
			n := 0
			var err error
			for n < len(b) && err == nil { // io.ReadFull would hide whether the stream ended or broke
				var m int
				m, err = r.Read(b[n:])
				n += m
			}
			if n > 0 {
				a.full <- b[:n] // does not block: it has room for every buffer
			}
			if err != nil {
				a.err = err
				return
			}
		}
	}()
	return a
}

// ahead is a stream that a goroutine reads in advance.
type ahead struct {
	full, free chan []byte
	stop, done chan struct{}
	err        error // valid once full is closed
	whole, now []byte
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.now) == 0 {
		if a.whole != nil {
			a.free <- a.whole[:cap(a.whole)]
			a.whole = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.whole, a.now = b, b
	}
	n := copy(p, a.now)
	a.now = a.now[n:]
	return n, nil
}

// Close stops reading from the stream, and returns when that has ended.
func (a *ahead) Close() error {
	close(a.stop)
	<-a.done
	return nil
}
