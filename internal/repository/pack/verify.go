package pack

import (
	"errors"

	"github.com/gitd-io/gitd/internal/repository/pack/fsck"
)

// attachedLimit is how large a .gitmodules or .gitattributes may be; git reads no larger ones from a pack either.
const attachedLimit = 16 << 20

// verify checks that what the objects refer to is in the pack or in the repository, and is what they take it for; and the
// files that git itself reads.
func (x *indexer) verify(order []int32) error {
	for _, b := range x.blocks {
		for i := range b {
			if b[i].kind == 0 {
				return damaged("it has deltas without a base")
			}
			if len(x.links.slots) == 0 {
				continue
			}
			if p := x.links.slot(b[i].id); p.kind != 0 {
				if p.kind != b[i].kind {
					return damaged("object %.12s is a %s, not a %s", p.id, kindNames[b[i].kind], kindNames[p.kind])
				}
				p.found = true
			}
		}
	}
	for i := range x.links.slots {
		p := &x.links.slots[i]
		if p.kind == 0 || p.found {
			continue
		}
		if i&255 == 0 && x.stopped.Load() {
			return errStopped
		}
		kind, err := x.store.kind(p.id)
		if errors.Is(err, errMissing) {
			return incomplete("%s %.12s is missing", kindNames[p.kind], p.id)
		}
		if err != nil {
			return err
		}
		if kind != p.kind {
			return damaged("object %.12s is a %s, not a %s", p.id, kindNames[kind], kindNames[p.kind])
		}
	}
	for f := range x.attached.files {
		o, err := x.readAny(order, f.id)
		if errors.Is(err, errMissing) {
			return unsound(f.id, x.check.Missing(f.file))
		}
		if err != nil {
			return err
		}
		if o.kind != kindBlob {
			return unsound(f.id, x.check.NotBlob(f.file))
		}
		if len(o.data) > attachedLimit {
			o.data = nil
			err = x.check.TooLarge(f.file)
		} else if f.file == fsck.Modules {
			err = x.check.Modules(o.data)
		} else {
			err = x.check.Attributes(o.data)
		}
		if err != nil {
			return unsound(f.id, err)
		}
		o.data = nil
		x.doneReading()
	}
	return nil
}

// readAny reads an object of the pack or of the repository.
func (x *indexer) readAny(order []int32, id ID) (object, error) {
	i, ok := x.lookup(order, id)
	if !ok {
		return x.store.read(id)
	}
	return x.store.readAt(x.data, func(id ID) (int64, bool) {
		i, ok := x.lookup(order, id)
		return x.at(i).offset, ok
	}, x.at(i).offset)
}
