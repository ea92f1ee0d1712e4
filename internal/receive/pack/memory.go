package pack

import (
	"math/bits"
	"unsafe"

	"github.com/gitd-io/gitd/internal/app"
)

const (
	// cacheMemory is how much the contents of delta bases may take over all workers before some are given back, to be made
	// again when they are wanted. More than this is used only for a single object and its base, by one worker at a time.
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
	m.x.large.Unlock()
}
