package receive

// readers are those who may have a repository's packs open.
type readers struct {
	n       int
	retired bool
	gone    chan struct{} // closed when retired and n is 0
}

// read counts a reader of the repository in; done counts it out.
func (st *appState) read() (done func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	r := st.readers
	r.n++
	return func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		if r.n--; r.n == 0 && r.retired {
			close(r.gone)
		}
	}
}

// retireReaders returns a channel that is closed when all readers who are here now have ended.
func (st *appState) retireReaders() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	r := st.readers
	st.readers = newReaders()
	if r.retired = true; r.n == 0 {
		close(r.gone)
	}
	return r.gone
}

func newReaders() *readers { return &readers{gone: make(chan struct{})} }
