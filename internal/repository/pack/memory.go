package pack

import (
	"math/bits"
	"time"
	"unsafe"

	"github.com/gitd-io/gitd/internal/app"
)

const (
	// cacheMemory is how much the contents of delta bases may take over all workers before some are given back, to be made
	// again when they are wanted. More than this is used only for a single object and its base, by one worker at a time of all packs.
	cacheMemory = 32 << 20
	// poolMemory is how much a worker keeps for its next objects.
	poolMemory  = 4 << 20
	poolLargest = 1 << 20
)

// memory hands out buffers to one worker, and counts them.
type memory struct {
	x      *indexer
	held   int64 // in use
	share  int64 // that may be in use without the large lock
	large  bool  // the lock is ours
	pooled int64
	pool   [128][][]byte // by sizeClass

	offHeap map[*byte][]byte // large buffers in use, which are given back at once
}

func newMemory(x *indexer) memory {
	return memory{x: x, share: min(cacheMemory, x.Limits.Memory/4) / int64(x.Workers)}
}

// sizeClass rounds a size up, by a quarter at most.
func sizeClass(n int) (class, size int) {
	if n <= 256 {
		return 0, 256
	}
	k := bits.Len(uint(n-1)) - 3 // n-1 has its three highest bits at k
	quarter := (n-1)>>k + 1      // 5 to 8
	return 1 + 4*(k-6) + quarter - 5, quarter << k
}

// get returns a buffer of n bytes with inflateSlack more behind. evict gives something back and says whether there was
// anything.
func (m *memory) get(n int64, evict func() bool) ([]byte, error) {
	class, full := sizeClass(int(n) + inflateSlack)
	for m.held+int64(full) > m.allowance() {
		if evict() {
			continue
		}
		if m.large || m.held+int64(full) > m.x.Limits.Memory {
			return nil, tooMuch("leave very large files out of the repository", "unpacking took more than %s of memory", app.Size(m.x.Limits.Memory))
		}
		m.x.large.Lock()
		if err := m.x.takeTurn(); err != nil {
			m.x.large.Unlock()
			return nil, err
		}
		m.large = true
	}
	m.held += int64(full)
	if p := &m.pool[class]; len(*p) > 0 {
		b := (*p)[len(*p)-1]
		*p = (*p)[:len(*p)-1]
		m.pooled -= int64(full)
		return b[:n], nil
	}
	if full > poolLargest {
		if b, err := newOffHeap[byte](full); err == nil {
			if m.offHeap == nil {
				m.offHeap = map[*byte][]byte{}
			}
			m.offHeap[&b[0]] = b
			return b[:n], nil
		}
	}
	return make([]byte, n, full), nil
}

// close gives back what an error has left.
func (m *memory) close() {
	for _, b := range m.offHeap {
		freeOffHeap(b)
	}
	m.offHeap = nil
	if m.large {
		m.unlock()
	}
}

func (m *memory) allowance() int64 {
	if m.large {
		return m.x.Limits.Memory
	}
	return m.share
}

// put takes a buffer back.
func (m *memory) put(b []byte) {
	m.held -= int64(cap(b))
	if m.large && m.held <= m.share {
		m.unlock()
	}
	if first := unsafe.SliceData(b); m.offHeap[first] != nil {
		delete(m.offHeap, first)
		freeOffHeap(b)
		return
	}
	class, full := sizeClass(cap(b))
	if full == cap(b) && full <= poolLargest && m.pooled+int64(full) <= poolMemory {
		m.pooled += int64(full)
		m.pool[class] = append(m.pool[class], b)
	}
}

func (m *memory) unlock() {
	m.large = false
	m.x.giveTurn()
	m.x.large.Unlock()
}

// ownMemory is how large an object of the repository may be that is read without the turn.
const ownMemory = 32 << 20

// largeTurn is had by the one pack, of all that are taken in, that may use more than its share of memory. The pack that has it waits for nothing
// else, least of all for a client.
var largeTurn = make(chan struct{}, 1)

// turnLooks is how often a pack that waits for the turn looks whether the work still makes sense.
const turnLooks = 100 * time.Millisecond

// takeTurn waits for the turn; who has it may take it again. One goroutine at a time calls it: a worker by the lock large, or the only one
// that there is once the workers have ended.
func (x *indexer) takeTurn() error {
	if x.turns > 0 {
		x.turns++
		return nil
	}
	look := time.NewTicker(turnLooks)
	defer look.Stop()
	for {
		select {
		case largeTurn <- struct{}{}:
			x.turns = 1
			return nil
		case <-x.ctx.Done():
			return errStopped
		case <-look.C:
			if x.stopped.Load() {
				return errStopped
			}
		}
	}
}

func (x *indexer) giveTurn() {
	if x.turns--; x.turns == 0 {
		<-largeTurn
	}
}

// readLarge has the turn taken for a large object of the repository, and doneReading gives it back.
func (x *indexer) readLarge() error {
	if x.reading {
		return nil
	}
	if err := x.takeTurn(); err != nil {
		return err
	}
	x.reading = true
	return nil
}

func (x *indexer) doneReading() {
	if x.reading {
		x.reading = false
		x.giveTurn()
	}
}
