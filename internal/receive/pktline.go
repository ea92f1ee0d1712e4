package receive

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxPacket is the longest pkt-line: four digits of length and 65516 bytes (gitprotocol-common).
const maxPacket = 65520

var (
	errFlush    = errors.New("flush packet")
	errProtocol = errors.New("protocol error")
)

// packetReader reads pkt-lines, and never more than the packet it was asked for.
type packetReader struct {
	r   io.Reader
	buf [maxPacket]byte
}

// next returns the next packet without its final newline; the bytes are good until the next call. It returns errFlush
// at a flush packet, io.EOF at a clean end, and an error that wraps errProtocol for what is no pkt-line.
func (p *packetReader) next() ([]byte, error) {
	if _, err := io.ReadFull(p.r, p.buf[:4]); err != nil {
		if err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: the connection ended in the middle of a packet", errProtocol)
		}
		return nil, err
	}
	n := 0
	for _, c := range p.buf[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		default:
			return nil, fmt.Errorf("%w: bad packet length %q", errProtocol, p.buf[:4])
		}
	}
	if n == 0 {
		return nil, errFlush
	}
	if n < 4 || n > maxPacket {
		return nil, fmt.Errorf("%w: bad packet length %d", errProtocol, n)
	}
	b := p.buf[:n-4]
	if _, err := io.ReadFull(p.r, b); err != nil {
		return nil, fmt.Errorf("%w: the connection ended in the middle of a packet", errProtocol)
	}
	if len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b, nil
}

// appendPacket adds s as one pkt-line to b.
func appendPacket(b []byte, s string) []byte {
	if len(s) > maxPacket-4 {
		s = s[:maxPacket-4]
	}
	return append(fmt.Appendf(b, "%04x", len(s)+4), s...)
}

// The channels of the sideband (gitprotocol-pack).
const (
	bandData     = 1
	bandProgress = 2
)

// band writes to the client: multiplexed where the client asked for side-band-64k, else only the report.
// A write that fails, or hangs for longer than stall, calls gone: nobody is listening any more.
type band struct {
	w     io.Writer
	multi bool
	stall time.Duration
	gone  func(error)

	mu   sync.Mutex
	last time.Time
	err  error
}

// send writes p to one channel in as many packets as it takes.
func (b *band) send(channel byte, p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.multi {
		if channel != bandData {
			return len(p), nil
		}
		return len(p), b.write(p)
	}
	for sent := 0; sent < len(p); {
		n := min(len(p)-sent, maxPacket-5)
		packet := append(fmt.Appendf(make([]byte, 0, n+5), "%04x%c", n+5, channel), p[sent:sent+n]...)
		if err := b.write(packet); err != nil {
			return sent, err
		}
		sent += n
	}
	return len(p), nil
}

// write is called with the lock held.
func (b *band) write(p []byte) error {
	if b.err != nil {
		return b.err
	}
	if b.stall > 0 {
		t := time.AfterFunc(b.stall, func() { b.gone(errors.New("the client reads nothing any more")) })
		defer t.Stop()
	}
	_, b.err = b.w.Write(p)
	b.last = time.Now()
	if b.err != nil {
		b.gone(b.err)
	}
	return b.err
}

// keepAlive sends an empty packet whenever nothing was sent for d: it keeps middle boxes from cutting a silent
// connection, and finds out that the client is gone. It ends when stop is closed.
func (b *band) keepAlive(stop <-chan struct{}, d time.Duration) {
	t := time.NewTicker(d / 2)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		b.mu.Lock()
		if b.multi && b.err == nil && time.Since(b.last) >= d/2 {
			_ = b.write([]byte("0005\x01"))
		}
		b.mu.Unlock()
	}
}

// close ends the conversation: the last flush, and silence after it.
func (b *band) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.multi {
		_ = b.write([]byte("0000"))
	}
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
}

// Write makes a band an io.Writer of progress.
func (b *band) Write(p []byte) (int, error) { return b.send(bandProgress, p) }
