package sshd

import (
	"io"
	"net/netip"
	"sync"
)

// window is what a client may send on a channel before it is read: x/crypto takes in that much, and no other number.
const window = 2 << 20

// windows bounds what channels whose input may lie unread hold in memory, together and for each address. A channel whose input is read at
// once, or dropped, is not counted.
type windows struct {
	all, each int // how many channels

	mu    sync.Mutex
	taken map[netip.Addr]int
	sum   int
}

func newWindows(bytes int64) *windows {
	all := max(1, int(bytes/window))
	return &windows{all: all, each: max(1, all/4), taken: map[netip.Addr]int{}}
}

// take counts a channel in. It returns false where there is no room.
func (w *windows) take(a netip.Addr) (release func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sum >= w.all || w.taken[a] >= w.each {
		return nil, false
	}
	w.sum++
	w.taken[a]++
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sum--
		if w.taken[a]--; w.taken[a] == 0 {
			delete(w.taken, a)
		}
	}), true
}

// DropInput reads and drops what the client sends from now on, and gives its window back. It reads past ss.in: an indexer may still be
// waiting for input there.
func (ss *Session) DropInput() {
	ss.window()
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{ss.raw}, make([]byte, 4<<10))
	}() // ends with the channel
}
