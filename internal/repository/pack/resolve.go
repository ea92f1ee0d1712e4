package pack

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gitd-io/gitd/internal/app"
)

// resolver resolves deltas, depth first: one branch of the tree of deltas is in memory at a time. Under pressure the
// contents nearest to the root are given back, since they are wanted last, and made again when they are.
type resolver struct {
	*indexer
	z       *inflater
	checker *objectChecker
	memory  memory
	stack   []frame
}

// frame is an object with deltas on it. The frame before it in the stack is its base.
type frame struct {
	entry        int32
	data         []byte // nil: given back
	foreign      bool   // data is not from this pack, and can not be made again
	child        int32  // next delta by offset, or -1
	ref, refsEnd int    // next delta by name
}

func newResolver(x *indexer) *resolver {
	return &resolver{indexer: x, z: newInflater(false), checker: newObjectChecker(x), memory: newMemory(x)}
}

// close gives up what the resolver holds, and returns err or what it found last.
func (w *resolver) close(err *error) {
	if e := w.checker.flush(); *err == nil {
		*err = e
	}
	w.memory.close()
}

// resolve resolves every delta whose base is in the pack.
func (x *indexer) resolve() error {
	slices.SortFunc(x.refs, func(a, b refChild) int {
		return cmp.Or(slices.Compare(a.base[:], b.base[:]), cmp.Compare(a.entry, b.entry))
	})
	x.claimed = make([]atomic.Bool, len(x.refs))
	if x.deltas = x.countDeltas(); x.deltas == 0 {
		return nil
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, x.Workers)
	const stride = 128
	for k := range x.Workers {
		wg.Go(func() {
			errs[k] = guard(func() (err error) {
				w := newResolver(x)
				defer w.close(&err)
				for {
					from := int(next.Add(stride)) - stride
					if from >= x.count {
						return nil
					}
					for i := from; i < min(from+stride, x.count); i++ {
						if err := w.root(int32(i)); err != nil {
							return err
						}
					}
				}
			})
			if errs[k] != nil {
				x.stopped.Store(true)
			}
		})
	}
	wg.Wait()
	return firstError(errs)
}

// firstError prefers the error of the worker that stopped the others.
func firstError(errs []error) (err error) {
	for _, e := range errs {
		if e != nil && (err == nil || err == errStopped) {
			err = e
		}
	}
	return err
}

func (x *indexer) countDeltas() (n int) {
	for _, b := range x.blocks {
		for i := range b {
			if b[i].stored > kindTag {
				n++
			}
		}
	}
	return n
}

// claim returns the deltas on an object that name it, unless another goroutine has them already.
func (x *indexer) claim(id ID) (from, end int) {
	if len(x.refs) == 0 {
		return 0, 0
	}
	from, ok := slices.BinarySearchFunc(x.refs, id, func(r refChild, id ID) int { return slices.Compare(r.base[:], id[:]) })
	if !ok || x.claimed[from].Swap(true) {
		return 0, 0
	}
	for end = from; end < len(x.refs) && x.refs[end].base == id; end++ {
	}
	return from, end
}

// root resolves what is built on an entry that is no delta.
func (w *resolver) root(i int32) error {
	e := w.at(i)
	if e.stored > kindTag {
		return nil
	}
	from, end := w.claim(e.id)
	if e.child < 0 && from == end {
		return nil
	}
	return w.branch(frame{entry: i, child: e.child, ref: from, refsEnd: end})
}

// branch resolves all deltas on an object, and those on them.
func (w *resolver) branch(root frame) error {
	w.stack = append(w.stack[:0], root)
	for len(w.stack) > 0 {
		top := len(w.stack) - 1
		t := &w.stack[top]
		var i int32
		switch {
		case t.child >= 0:
			i = t.child
			t.child = w.at(i).sibling
		case t.ref < t.refsEnd:
			i = w.refs[t.ref].entry
			t.ref++
		default:
			w.release(t)
			w.stack = w.stack[:top]
			continue
		}
		if err := w.content(top); err != nil {
			return err
		}
		data, err := w.apply(i, top)
		if err != nil {
			return err
		}
		kind := w.at(w.stack[top].entry).kind
		id, err := w.checker.examine(kind, data)
		if err != nil {
			return err
		}
		e := w.at(i)
		e.kind, e.id = kind, id
		if done := int(w.resolved.Add(1)); !w.memory.large && !w.reading { // telling may wait for a client, and others wait for the turn
			w.told.tell(w.Progress, "Resolving deltas", done, w.deltas)
		}
		if t := &w.stack[top]; t.child < 0 && t.ref >= t.refsEnd {
			w.release(t) // this was its last delta
		}
		f := frame{entry: i, data: data, child: e.child}
		if f.ref, f.refsEnd = w.claim(id); f.child < 0 && f.ref == f.refsEnd {
			w.memory.put(data)
			continue
		}
		if len(w.stack) > w.Limits.Depth {
			return tooMuch("repack the repository with: git repack -adf --depth=50", "the pack has a chain of more than %d deltas", w.Limits.Depth)
		}
		w.stack = append(w.stack, f)
	}
	return nil
}

func (w *resolver) release(f *frame) {
	if f.data != nil && !f.foreign {
		w.memory.put(f.data)
	}
	f.data = nil
}

// content makes sure that the data of a frame is there.
func (w *resolver) content(i int) error {
	from := i
	for from > 0 && w.stack[from].data == nil {
		from--
	}
	if f := &w.stack[from]; f.data == nil {
		e := w.at(f.entry)
		if err := w.spend(int64(e.size)); err != nil {
			return err
		}
		b, err := w.memory.get(int64(e.size), func() bool { return false })
		if err != nil {
			return err
		}
		if err := w.inflate(e, b); err != nil {
			return err
		}
		f.data = b
	}
	for from++; from <= i; from++ {
		data, err := w.apply(w.stack[from].entry, from-1)
		if err != nil {
			return err
		}
		w.stack[from].data = data
	}
	return nil
}

// apply makes the object of entry i, a delta on the object of a frame whose data is there.
func (w *resolver) apply(i int32, base int) ([]byte, error) {
	evict := func() bool {
		for k := range base {
			if f := &w.stack[k]; f.data != nil && !f.foreign {
				w.release(f)
				return true
			}
		}
		return false
	}
	e := w.at(i)
	delta, err := w.memory.get(int64(e.size), evict)
	if err != nil {
		return nil, err
	}
	defer w.memory.put(delta)
	if err := w.inflate(e, delta); err != nil {
		return nil, err
	}
	from, to, instructions, err := deltaSizes(delta)
	if err != nil {
		return nil, err
	}
	b := w.stack[base].data
	if from != int64(len(b)) {
		return nil, damaged("a delta is not sound")
	}
	if to > w.Limits.Object {
		return nil, tooMuch("leave very large files out of the repository", "the pack has an object of %s; the limit is %s", app.Size(to), app.Size(w.Limits.Object))
	}
	if err := w.spend(to + int64(e.size)); err != nil {
		return nil, err
	}
	result, err := w.memory.get(to, evict)
	if err != nil {
		return nil, err
	}
	if err := applyDelta(result, b, instructions); err != nil {
		w.memory.put(result)
		return nil, err
	}
	return result, nil
}

// inflate inflates an entry that the first pass has found sound.
func (w *resolver) inflate(e *entry, dst []byte) error {
	if _, err := w.z.one(dst[:len(dst)+inflateSlack], int64(len(dst)), w.data[e.offset+int64(e.header):]); err != nil {
		return damaged("%w", err)
	}
	return nil
}
