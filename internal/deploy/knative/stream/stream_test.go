package stream

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"
)

func frame(k Kind, size uint32, b string) string {
	h := make([]byte, header)
	h[0] = byte(k)
	binary.BigEndian.PutUint32(h[1:], size)
	return string(h) + b
}

// TestHostile: what runs in a container can write to the connection as gitd-pod does. It is bounded.
func TestHostile(t *testing.T) {
	for name, in := range map[string]string{
		"a frame that is too large": frame(Stdout, Chunk+1, ""),
		"a huge one":                frame(End, 1<<32-1, ""),
		"a large command":           frame(Start, large+1, ""),
		"it ends in a frame":        frame(Stdout, 10, "abc"),
		"it ends in a header":       "\x08\x00",
		"room that is negative":     frame(Room, 2, "-1"),
		"room without bounds":       frame(Room, 10, "9999999999"),
		"room that is none":         frame(Room, 1, "x"),
	} {
		c := New(strings.NewReader(in), io.Discard)
		if k, b, err := c.Receive(); err == nil {
			t.Errorf("%s: %d, %d bytes", name, k, len(b))
		}
		if err := c.Copy(Input, strings.NewReader(strings.Repeat("x", 2*Ahead))); err == nil {
			t.Errorf("%s: it is sent more", name)
		}
	}
	held := make(chan struct{})
	q := NewQueue(writer(func([]byte) (int, error) { <-held; return 0, io.ErrClosedPipe }), func(int) {}, func(error) {})
	n := 0
	for q.Put(make([]byte, Chunk)) {
		n++
	}
	if n > Ahead/Chunk {
		t.Errorf("%d frames were kept for a client that reads nothing", n)
	}
	close(held)
	select {
	case <-q.End():
	case <-time.After(time.Minute):
		t.Error("the queue does not end")
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// FuzzReceive: whatever is received, it is an error or a frame within its bounds.
func FuzzReceive(f *testing.F) {
	f.Add([]byte(frame(Stdout, 3, "abc") + frame(Room, 1, "5") + frame(End, 10, `{"code":3}`)))
	f.Add([]byte(frame(Room, 2, "-1")))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := New(bytes.NewReader(in), io.Discard)
		for {
			k, b, err := c.Receive()
			if err != nil {
				return
			}
			if len(b) > Chunk && k != Start || len(b) > len(in) {
				t.Fatalf("kind %d with %d bytes", k, len(b))
			}
		}
	})
}
