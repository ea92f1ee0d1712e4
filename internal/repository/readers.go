package repository

import "sync"

// packState is who uses a repository's packs, and how its maintenance stands.
type packState struct {
	// mu guards the following.
	mu         sync.Mutex
	readers    *readers // who may have packs open
	maintained bool     // maintenance runs
	restsUntil int      // maintenance waits until there are this many packs
}

// readers are those who may have a repository's packs open. The packState's mu guards it.
type readers struct {
	n       int
	retired bool
	gone    chan struct{} // closed when retired and n is 0
}

func newReaders() *readers { return &readers{gone: make(chan struct{})} }

// Read counts a reader of the repository in; done counts it out.
func (r *Repository) Read() (done func()) { return r.packs.read() }

func (p *packState) read() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.readers
	r.n++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.n--; r.n == 0 && r.retired {
			close(r.gone)
		}
	}
}

// retireReaders returns a channel that is closed when all readers who are here now have ended.
func (p *packState) retireReaders() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.readers
	p.readers = newReaders()
	if r.retired = true; r.n == 0 {
		close(r.gone)
	}
	return r.gone
}
