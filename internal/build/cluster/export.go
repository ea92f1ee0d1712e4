package cluster

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

// exporting is what the container that exports has said.
type exporting struct {
	known chan struct{} // closed when image is set, or will never be
	done  chan struct{} // closed when the container has nothing more to say

	image  *wire.Exported // set before known is closed
	failed *wire.Failed   // this and err: set before done is closed
	err    error          // of reading
}

// export waits for the image. The channel it returns is closed when the container has nothing more to say.
func (b *running) export(ctx context.Context) (<-chan struct{}, error) {
	b.Progress.Enter("export")
	if _, err := b.watched.wait(ctx, started(wire.Export)); err != nil {
		return nil, err
	}
	// The container goes on with the cache after the image is there, and so does this, after the build has returned; but no longer than the
	// Pod may live, for a node that is lost says nothing more, and the app's next build waits.
	reading, stop := context.WithTimeout(context.WithoutCancel(ctx), b.Limits.Time+backstop)
	context.AfterFunc(b.closing, stop)
	x := b.followExport(reading, stop)
	select {
	case <-x.known:
	case <-ctx.Done():
		stop()
		<-x.done
		return nil, context.Cause(ctx)
	}
	image := x.image
	if image == nil {
		<-x.done
		var err error
		if image, err = b.notExported(ctx, x); err != nil {
			return nil, err
		}
	}
	took := time.Since(b.asked)
	err := b.finish(image)
	t := &b.Result.Times
	t.Wait = took - b.sending - t.Analyze - t.Detect - t.Build - t.Export
	return x.done, err
}

// followExport reads what the container says until its end, or that of ctx, which stop brings about.
func (b *running) followExport(ctx context.Context, stop func()) *exporting {
	x := &exporting{known: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(x.done)
		defer stop()
		x.err = b.events(ctx, wire.Export, func(e wire.Event) (last bool) {
			switch {
			case e.Exported != nil:
				if x.image == nil {
					x.image = e.Exported
					close(x.known)
				}
			case e.Failed != nil:
				x.failed = e.Failed
				return true
			case e.Note != "":
				b.o.Log("build of %s v%d: %s", b.Request.App, b.Request.Version, e.Note)
			case e.Cached != nil:
				return true
			}
			return false
		})
		if x.image == nil {
			close(x.known)
		}
	}()
	return x
}

// notExported looks at why the container named no image: it failed, or only its log was lost.
func (b *running) notExported(ctx context.Context, x *exporting) (*wire.Exported, error) {
	failed := x.failed
	if failed == nil {
		failed = b.failed(wire.Export)
	}
	if failed != nil {
		return nil, b.registryFailure(failed)
	}
	if image := b.lastWords(); image != nil {
		return image, nil
	}
	if x.err != nil {
		return nil, x.err
	}
	return nil, b.died(ctx, wire.Export, "export")
}

// lastWords finds the image in the termination message of the container, for when its log was lost.
func (b *running) lastWords() *wire.Exported {
	p, _, _ := b.watched.get()
	s := state(p, wire.Export)
	if s == nil || s.State.Terminated == nil {
		return nil
	}
	var e wire.Event
	if json.Unmarshal([]byte(s.State.Terminated.Message), &e) != nil {
		return nil
	}
	return e.Exported
}
