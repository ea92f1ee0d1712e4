package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func pair(t testing.TB) (*net.UnixConn, *net.UnixConn) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// Frames arrive as they were sent, in pieces or together, each with its own descriptors.
func TestConn(t *testing.T) {
	a, b := pair(t)
	dir := t.TempDir()
	var files []*os.File
	for _, name := range []string{"one", "two", "three"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		files = append(files, f)
	}
	l := NewLink(a)
	defer l.End(nil)
	large := string(bytes.Repeat([]byte("x"), 1<<20))
	l.Tell(KindWake, Wake{Key: "a"})
	for i, f := range files {
		dup, err := Dup(f)
		if err != nil {
			t.Fatal(err)
		}
		message := Dropped{Key: f.Name(), ID: "small"}
		if i == 1 {
			message.ID = large
		}
		l.Tell(KindDropped, message, dup)
		l.Tell(KindWake, Wake{Key: "between"})
	}
	c := NewConn(b)
	for want := range 7 {
		f, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if want%2 == 0 {
			if f.Kind != KindWake || len(f.Files) != 0 {
				t.Errorf("frame %d: kind %d with %d descriptors", want, f.Kind, len(f.Files))
			}
			continue
		}
		var m Dropped
		if err := f.Into(&m); err != nil || f.Kind != KindDropped || len(f.Files) != 1 {
			t.Fatalf("frame %d: kind %d with %d descriptors, %v", want, f.Kind, len(f.Files), err)
		}
		if b, err := io.ReadAll(f.Files[0]); err != nil || string(b) != filepath.Base(m.Key) {
			t.Errorf("the descriptor of %s reads %q, %v", m.Key, b, err)
		}
		f.Close()
	}
}

// What takes the place of a message that is still in the queue is sent once.
func TestTellLast(t *testing.T) {
	a, b := pair(t)
	l := NewLink(a)
	defer l.End(nil)
	full := string(bytes.Repeat([]byte("x"), 4<<20)) // more than the socket takes
	l.Tell(KindDropped, Dropped{ID: full})
	time.Sleep(50 * time.Millisecond)
	for n := range int64(100) {
		l.TellLast("a", KindWake, Wake{Key: "a", InFlight: n})
	}
	l.Tell(KindDone, Asked{Number: 1})
	c := NewConn(b)
	var got []Kind
	for len(got) < 3 {
		f, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Kind)
		if f.Kind == KindWake {
			var m Wake
			if err := f.Into(&m); err != nil || m.InFlight != 99 {
				t.Errorf("%+v, %v", m, err)
			}
		}
	}
	if got[0] != KindDropped || got[1] != KindWake || got[2] != KindDone {
		t.Errorf("%v", got)
	}
}

// What is damaged, too long or of another version ends the link, with the reason.
func TestReceive_Refuses(t *testing.T) {
	whole, err := New(KindWake, Wake{Key: "a", InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		want   error
	}{
		{"another beginning", func(b []byte) []byte { b[0] = 'X'; return b }, ErrDamaged},
		{"a bit of the version", func(b []byte) []byte { b[2]++; return b }, ErrDamaged},
		{"another version", func([]byte) []byte { return whole.encode(Version + 1) }, ErrVersion},
		{"a bit of the body", func(b []byte) []byte { b[header+3] ^= 1; return b }, ErrDamaged},
		{"a bit of the kind", func(b []byte) []byte { b[3] ^= 1; return b }, ErrDamaged},
		{"too long", func(b []byte) []byte { b[4] = 0xff; return b }, ErrTooLong},
		{"too many descriptors", func(b []byte) []byte { b[8] = 0xff; return b }, ErrTooLong},
		{"cut off", func(b []byte) []byte { return b[:len(b)-1] }, io.EOF},
	} {
		a, b := pair(t)
		if _, err := a.Write(tt.change(whole.encode(Version))); err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
		if f, err := NewConn(b).Receive(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, f, err)
		}
	}
	if _, err := New(KindWake, Wake{Key: string(make([]byte, MaxBody))}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a frame that is too long is sent: %v", err)
	}
	// Descriptors that a frame says it has and that did not come.
	alone := Frame{Kind: KindInstances, Body: []byte("{}"), Files: make([]*os.File, 1)}
	a, b := pair(t)
	if _, err := a.Write(alone.encode(Version)); err != nil {
		t.Fatal(err)
	}
	if _, err := NewConn(b).Receive(); !errors.Is(err, ErrDamaged) {
		t.Errorf("without its descriptor: %v", err)
	}
}

// Whatever comes, decoding takes no more than is there, and what it takes is what was encoded.
func FuzzDecode(f *testing.F) {
	whole, err := New(KindRoutes, Routes{Hosts: map[string]*Route{"a.test": {Split: []Target{{"a/1", 100}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole.encode(Version))
	f.Add(append(whole.encode(Version), "GP"...))
	f.Add([]byte("GP\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, took, files, err := decode(b, Ours)
		if err != nil || took == 0 {
			return
		}
		if took > len(b) || len(frame.Body) != took-header || files > MaxFiles {
			t.Fatalf("took %d of %d, a body of %d", took, len(b), len(frame.Body))
		}
		var m Routes
		_ = frame.Into(&m)
	})
}
