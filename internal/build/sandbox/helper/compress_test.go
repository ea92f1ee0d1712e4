package helper

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
)

// What is compressed is read back as it was, by other programs' readers too, and is the same however many processors there are.
func TestCompress(t *testing.T) {
	noise := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 12345} {
		plain := make([]byte, size)
		_, _ = noise.Read(plain[:size/2])
		var one, many bytes.Buffer
		n, err := compress(&one, bytes.NewReader(plain), 1)
		if err != nil || n != int64(one.Len()) {
			t.Fatalf("%d: %d, %v", size, n, err)
		}
		if _, err := compress(&many, iotest.HalfReader(bytes.NewReader(plain)), 7); err != nil || !bytes.Equal(one.Bytes(), many.Bytes()) {
			t.Errorf("%d: it depends on the processors (%v)", size, err)
		}
		theirs, err := stdgzip.NewReader(bytes.NewReader(one.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := gzip.NewReader(&many)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []io.Reader{theirs, ours} {
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d: %d bytes come back, %v", size, len(got), err)
			}
		}
	}
}

type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("no room")
	}
	return len(p), nil
}

func TestCompressFails(t *testing.T) {
	plain := make([]byte, 6*blockSize)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(plain)
	for _, at := range []int{0, blockSize, 3 * blockSize} {
		if _, err := compress(&broken{at}, bytes.NewReader(plain), 3); err == nil {
			t.Errorf("it wrote more than %d bytes", at)
		}
		if _, err := compress(io.Discard, io.MultiReader(bytes.NewReader(plain[:at]), iotest.ErrReader(errors.New("unreadable"))), 3); err == nil {
			t.Errorf("it read more than %d bytes", at)
		}
	}
}
