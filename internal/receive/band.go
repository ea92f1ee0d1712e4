package receive

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/awake"
	"github.com/gitd-io/gitd/internal/pktline"
)

// The channels of the sideband (gitprotocol-pack).
const (
	bandData     = 1
	bandProgress = 2
)

// band writes to the client: multiplexed where the client asked for side-band-64k, else only the report.
// A write that fails, or hangs for longer than stall, calls gone: the client does not listen any more.
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
		n := min(len(p)-sent, pktline.MaxContent-1)
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
		t := awake.AfterFunc(b.stall, func() { b.gone(errors.New("the client reads nothing any more")) })
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
