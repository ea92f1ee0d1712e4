package helper

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/klauspost/compress/gzip"

	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
)

// compress writes a compressed copy of a tar file, has the parent place it, and removes the tar file.
func (h *helper) compress(tar string) (digest string, size int64, err error) {
	src, err := os.Open(tar)
	if err != nil {
		return "", 0, err
	}
	defer src.Close()
	out := filepath.Join(wire.App, h.job.Build, "blobs")
	f, err := os.CreateTemp(out, "layer-")
	if err != nil {
		return "", 0, err
	}
	sum := sha256.New()
	size, err = compress(io.MultiWriter(f, sum), src, runtime.GOMAXPROCS(0))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", 0, err
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	if err := os.Rename(f.Name(), filepath.Join(out, digest)); err != nil {
		return "", 0, err
	}
	h.say(wire.Reply{Blob: &wire.Blob{Hex: digest, Size: size}})
	if err := h.expect(wire.CommandPlaced); err != nil {
		return "", 0, err
	}
	return digest, size, os.Remove(tar)
}

// blockSize is how much of a layer is compressed by itself. It is part of what an image is: the same layer has the same digest on every machine.
const blockSize = 1 << 20

// block is a part of a layer.
type block struct {
	plain   []byte
	packed  bytes.Buffer
	packing chan error // how its compression ended
}

// compress writes all of r to w by gzip, in members of blockSize, of which it compresses some at once. A reader of gzip reads on from one member to the next.
func compress(w io.Writer, r io.Reader, atOnce int) (written int64, err error) {
	atOnce = max(atOnce, 1)
	free := make(chan *block, atOnce+1)
	for range cap(free) {
		free <- &block{plain: make([]byte, blockSize)}
	}
	packed, stop := make(chan *block, cap(free)), make(chan struct{})
	var unread error // valid once packed is closed
	go func() {
		defer close(packed)
		turns := make(chan struct{}, atOnce)
		for first := true; ; first = false {
			var b *block
			select {
			case b = <-free:
			case <-stop:
				return
			}
			n, err := io.ReadFull(r, b.plain[:blockSize])
			last := err == io.EOF || err == io.ErrUnexpectedEOF
			if err != nil && !last {
				unread = err
				return
			}
			if n > 0 || first { // what is empty has one member, too
				b.plain, b.packing = b.plain[:n], make(chan error, 1)
				turns <- struct{}{}
				go func() { b.packing <- b.pack(); <-turns }()
				packed <- b
			}
			if last {
				return
			}
		}
	}()
	defer func() { // nothing reads from r any more
		close(stop)
		for b := range packed {
			<-b.packing
		}
	}()
	for b := range packed {
		if err := <-b.packing; err != nil {
			return written, err
		}
		n, err := b.packed.WriteTo(w)
		if written += n; err != nil {
			return written, err
		}
		free <- b
	}
	return written, unread
}

// pack compresses the block.
func (b *block) pack() error {
	b.packed.Reset()
	z, err := gzip.NewWriterLevel(&b.packed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = z.Write(b.plain)
	return errors.Join(err, z.Close())
}
