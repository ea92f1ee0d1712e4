package dataplane

import (
	"errors"
	"io"
	"net"
	"time"
)

// upload is a request's body on its way to an app, on a goroutine of its own: an app may answer before it has read all.
type upload struct {
	from io.Reader
	left int64 // -1: chunks
	done chan struct{}
	err  error
}

// start sends the body. The head was sent.
func (u *upload) start(to net.Conn) {
	u.done = make(chan struct{})
	go func() {
		defer close(u.done)
		if u.err = u.send(to); u.err != nil && !errors.Is(u.err, errApp) {
			_ = to.Close() // the client's side failed: the app must not take what it got for the whole
		}
	}()
}

// errApp: the app took no more.
var errApp = errors.New("the app took no more of the request")

// send copies the body.
func (u *upload) send(to net.Conn) error {
	b := buffers.Get()
	defer buffers.Put(b)
	for {
		n, last, err := u.read(b)
		if err != nil {
			return err
		}
		out := b[:n]
		if u.left < 0 {
			out = b[chunkRoom-chunkLine(b, n) : chunkRoom+n]
			if n > 0 {
				out = append(out, '\r', '\n')
			}
			if last {
				out = append(out, "0\r\n\r\n"...)
			}
		} else {
			u.left -= int64(n)
			last = u.left == 0
		}
		if len(out) > 0 {
			if _, err := to.Write(out); err != nil {
				return errApp
			}
		}
		if last {
			return nil
		}
	}
}

// chunkRoom is kept free in front of a chunk for its line, and behind it for its end and the last chunk.
const chunkRoom = 16

// read reads what comes next of the body: to the beginning of b, or of a chunk.
func (u *upload) read(b []byte) (n int, last bool, err error) {
	if u.left >= 0 {
		b = b[:min(int64(len(b)), u.left)]
	} else {
		b = b[chunkRoom : len(b)-chunkRoom]
	}
	n, err = u.from.Read(b)
	if last = errors.Is(err, io.EOF); last {
		err = nil
		if u.left > int64(n) {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, last, err
}

// chunkLine writes the line of a chunk of n octets in front of it, and returns its length.
func chunkLine(b []byte, n int) int {
	if n == 0 {
		return 0
	}
	var line [chunkRoom]byte
	return copy(b[chunkRoom-len(appendLine(line[:0], n)):chunkRoom], appendLine(line[:0], n))
}

// appendLine appends the line that begins a chunk.
func appendLine(b []byte, n int) []byte { return append(appendHex(b, n), '\r', '\n') }

// appendHex appends a number as chunks have it.
func appendHex(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return b
}

// sent says whether all of the body was sent; it waits a moment for that.
func (u *upload) sent() bool {
	select {
	case <-u.done:
		return u.err == nil
	default:
	}
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-u.done:
		return u.err == nil
	case <-t.C:
		return false
	}
}
