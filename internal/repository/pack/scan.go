package pack

import (
	"bufio"
	"encoding/binary"
	"io"
	"sort"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
)

const (
	headerSize  = 12
	trailerSize = 20

	// batchSize is how many bytes of objects the first pass hands over for hashing at once; objects that are larger than a
	// batch are hashed on the way.
	batchSize = 256 << 10
)

// batch is a number of objects on their way to be hashed and checked. Their entries are not touched meanwhile.
type batch struct {
	data  []byte
	used  int
	items []batchItem
}

type batchItem struct {
	entry      *entry
	start, end int
}

// scanner is the first pass: it finds the entries of the pack, and names and checks the objects that are no deltas.
type scanner struct {
	*indexer
	src     *source
	z       *inflater
	hash    *objectHash
	window  []byte // for what is inflated to be measured, or to be hashed on the way
	batch   *batch
	full    chan *batch
	free    chan *batch
	workers sync.WaitGroup
	mu      sync.Mutex
	err     error // of a worker
}

// scan reads the pack into a file and finds its entries.
func (x *indexer) scan(r *bufio.Reader) error {
	return guard(func() error {
		head, err := r.Peek(headerSize)
		if err == io.EOF && len(head) == 0 {
			return io.EOF
		}
		if len(head) >= 4 && string(head[:4]) != "PACK" || len(head) == headerSize && binary.BigEndian.Uint32(head[4:])-2 > 1 {
			return app.Errorf(app.CodeInvalidInput, "push with git 1.6 or newer", "what was sent is not a pack that can be read")
		}
		if err != nil {
			if err == io.EOF {
				err = damaged("it ends early")
			}
			return err
		}
		count := binary.BigEndian.Uint32(head[8:])
		if count > x.Limits.Objects {
			return tooMuch("push a shorter history, for instance from a shallow clone",
				"the pack says it has %d objects; the limit is %d", count, x.Limits.Objects)
		}
		x.count = int(count)
		x.store = openStore(x.Repository, x.Limits, x.spend)
		x.store.large = x.readLarge
		// What objects refer to is here, or there, or is the parent of a commit where a shallow history ends.
		x.links.limit = x.count + x.store.objects() + 1<<16
		if x.stopped.Load() {
			return errStopped
		}
		var w io.Writer = io.Discard
		if count > 0 {
			if err := x.createFile(); err != nil {
				return err
			}
			w = x.file
		}
		s := &scanner{indexer: x, src: &source{r: r, sink: newSink(w), limit: x.Limits.Bytes}, z: newInflater(true), hash: newObjectHash(x),
			window: make([]byte, inflateWindow+batchSize+inflateSlack),
			full:   make(chan *batch, x.Workers), free: make(chan *batch, x.Workers+1)}
		for range cap(s.free) {
			s.free <- nil
		}
		for range x.Workers {
			s.workers.Go(s.hashBatches)
		}
		err = guard(s.entries)
		s.handOver()
		close(s.full)
		s.workers.Wait()
		if err == nil {
			err = s.err
		}
		if err == nil {
			err = s.src.flush()
		}
		sum, sinkErr := s.src.sink.end()
		if err != nil {
			return err
		}
		if sinkErr != nil {
			return sinkErr
		}
		return s.trailer(sum)
	})
}

func (s *scanner) trailer(sum ID) error {
	s.end = s.src.offset()
	var sent ID
	s.src.sink = newSink(io.Discard)
	err := s.src.full(sent[:])
	if err == nil {
		err = s.src.flush()
	}
	if _, e := s.src.sink.end(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if sent != sum {
		return damaged("its checksum does not match")
	}
	s.sum = sum
	s.result.Objects, s.result.Bytes = s.count, s.src.offset()
	if s.file != nil {
		_, err = s.file.Write(sum[:])
	}
	return err
}

func (s *scanner) entries() error {
	if err := s.src.full(make([]byte, headerSize)); err != nil {
		return err
	}
	for i := range s.count {
		if err := s.entry(int32(i)); err != nil {
			if s.stopped.Load() && s.ctx.Err() == nil {
				return s.failed() // a worker found something before
			}
			return err
		}
		s.told.tell(s.Progress, "Indexing objects", i+1, s.count)
	}
	return nil
}

// failed returns the error of a worker.
func (s *scanner) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	return errStopped
}

// entry reads one entry.
func (s *scanner) entry(i int32) error {
	e := entry{offset: s.src.offset(), child: -1, sibling: -1}
	s.src.mark()
	c, err := s.src.byte()
	if err != nil {
		return err
	}
	e.stored = c >> 4 & 7
	n, shift := int64(c&15), 4
	for c&0x80 != 0 {
		if c, err = s.src.byte(); err != nil {
			return err
		}
		if shift > 46 {
			return tooMuch("leave very large files out of the repository", "the pack says that an object is larger than %s", app.Size(1<<50))
		}
		n |= int64(c&0x7f) << shift
		shift += 7
	}
	if n > s.Limits.Object {
		return tooMuch("leave very large files out of the repository", "the pack has an object of %s; the limit is %s", app.Size(n), app.Size(s.Limits.Object))
	}
	e.size = uint32(n)
	switch e.stored {
	case kindCommit, kindTree, kindBlob, kindTag:
		e.kind = e.stored
	case offsetDelta:
		if err := s.offsetBase(&e, i); err != nil {
			return err
		}
	case refDelta:
		ref := refChild{entry: i}
		if err := s.src.full(ref.base[:]); err != nil {
			return err
		}
		s.refs = append(s.refs, ref)
	default:
		return damaged("an entry has type %d", e.stored)
	}
	e.header = uint8(s.src.offset() - e.offset)
	if err := s.spend(n); err != nil {
		return err
	}
	k := s.add(e)
	p := s.at(k)
	switch {
	case e.kind == 0:
		err = s.inflate(s.window, n, func([]byte) {})
	case n+inflateSlack <= batchSize:
		err = s.small(p, n)
	case e.kind == kindBlob:
		s.hash.begin(kindBlob, n)
		if err = s.inflate(s.window, n, func(b []byte) { _, _ = s.hash.Write(b) }); err == nil {
			p.id, err = s.hash.end()
		}
	default:
		err = s.big(p, n)
	}
	if err != nil {
		return err
	}
	p.crc = s.src.sinceMark()
	return nil
}

// offsetBase reads how far back the base of a delta is, and enters the delta there.
func (s *scanner) offsetBase(e *entry, i int32) error {
	c, err := s.src.byte()
	if err != nil {
		return err
	}
	back := int64(c & 0x7f)
	for c&0x80 != 0 {
		if c, err = s.src.byte(); err != nil {
			return err
		}
		if back > 1<<54 {
			return damaged("a delta has no base")
		}
		back = (back+1)<<7 | int64(c&0x7f)
	}
	base, ok := s.find(e.offset - back)
	if back <= 0 || !ok {
		return damaged("a delta has no base")
	}
	b := s.indexer.at(base)
	e.sibling, b.child = b.child, i
	return nil
}

// find returns the entry that begins at an offset. It looks at nothing but offsets: the rest of an entry may be at work.
func (x *indexer) find(offset int64) (int32, bool) {
	i := sort.Search(x.total, func(i int) bool { return x.at(int32(i)).offset >= offset })
	return int32(i), i < x.total && x.at(int32(i)).offset == offset
}

// stream feeds the inflater until it wants output or is done.
func (s *scanner) stream() (inflateStatus, error) {
	for {
		view, err := s.src.next()
		if err != nil {
			return 0, err
		}
		n, status, err := s.z.run(view)
		s.src.use(n)
		if err != nil {
			return 0, damaged("%w", err)
		}
		if status != needInput {
			return status, nil
		}
		if s.stopped.Load() {
			return 0, errStopped
		}
	}
}

// inflate inflates n bytes through a window, and passes them on in pieces.
func (s *scanner) inflate(window []byte, n int64, pass func([]byte)) error {
	s.z.start(window, n)
	from := 0
	for {
		status, err := s.stream()
		if err != nil {
			return err
		}
		pass(s.z.dst[from:s.z.out])
		if status == inflated {
			return nil
		}
		from = s.z.slide()
	}
}

// small inflates an object into the batch.
func (s *scanner) small(e *entry, n int64) error {
	if s.batch != nil && s.batch.used+int(n)+inflateSlack > len(s.batch.data) {
		s.handOver()
	}
	if s.batch == nil {
		if s.batch = <-s.free; s.batch == nil {
			s.batch = &batch{data: make([]byte, batchSize)}
		}
	}
	b := s.batch
	end := b.used + int(n)
	s.z.start(b.data[b.used:end+inflateSlack], n)
	status, err := s.stream()
	if err == nil && status != inflated {
		err = damaged("%w", errOverflow)
	}
	if err != nil {
		return err
	}
	b.items = append(b.items, batchItem{e, b.used, end})
	b.used = end
	return nil
}

func (s *scanner) handOver() {
	if s.batch != nil {
		s.full <- s.batch
		s.batch = nil
	}
}

// hashBatches names and checks the objects of batches.
func (s *scanner) hashBatches() {
	c := newObjectChecker(s.indexer)
	for b := range s.full {
		err := guard(func() error {
			for _, i := range b.items {
				if s.stopped.Load() {
					return nil
				}
				var err error
				if i.entry.id, err = c.examine(i.entry.kind, b.data[i.start:i.end]); err != nil {
					return err
				}
			}
			return nil
		})
		s.fail(err)
		b.used, b.items = 0, b.items[:0]
		s.free <- b
	}
	s.fail(c.flush())
}

// fail notes the error of a worker, and stops the others.
func (s *scanner) fail(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.stopped.Store(true)
}

// big inflates a commit, tree or tag that is larger than a batch. The memory grows with what is really there.
func (s *scanner) big(e *entry, n int64) error {
	if err := textFits(e.kind, n); err != nil { // no turn is given for more: the pack that has it must not wait for a client
		return err
	}
	if 3*n > s.Limits.Memory {
		return tooMuch("leave very large objects out of the repository", "unpacking took more than %s of memory", app.Size(s.Limits.Memory))
	}
	s.z.start(make([]byte, batchSize+inflateSlack), n)
	for {
		status, err := s.stream()
		if err != nil {
			return err
		}
		if status == inflated {
			break
		}
		s.z.enlarge(make([]byte, min(int64(2*len(s.z.dst)), n)+inflateSlack))
	}
	c := newObjectChecker(s.indexer)
	var err error
	if e.id, err = c.examine(e.kind, s.z.dst[:n]); err != nil {
		return err
	}
	return c.flush()
}
