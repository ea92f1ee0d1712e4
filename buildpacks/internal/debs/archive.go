package debs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// archive is what is in a package.
type archive struct {
	tree   *os.File // a tar archive without a name
	script string   // what the package runs after its installation; "" where it has nothing
	err    error
}

// openAll opens packages, as many at a time as there are processors, in their order and not far ahead of who takes them. The channel of each has one
// archive, whose tree the taker closes. When ctx ends nothing more is opened, and what has not been taken is closed.
func (t *tree) openAll(ctx context.Context, files []string) []chan archive {
	opened := make([]chan archive, len(files))
	for i := range opened {
		opened[i] = make(chan archive)
	}
	workers := runtime.GOMAXPROCS(0)
	for w := range min(workers, len(files)) {
		go func() {
			for i := w; i < len(files); i += workers {
				a := t.open(ctx, files[i])
				select {
				case opened[i] <- a:
				case <-ctx.Done():
					if a.err == nil {
						a.tree.Close()
					}
					return
				}
			}
		}()
	}
	return opened
}

// open decompresses a package into a file of its own.
func (t *tree) open(ctx context.Context, file string) (a archive) {
	if a.tree, a.err = os.CreateTemp(t.temporary, "tree-"); a.err != nil {
		return a
	}
	a.err = errors.Join(os.Remove(a.tree.Name()), t.dpkg(ctx, a.tree, "--fsys-tarfile", file))
	if a.err == nil {
		_, a.err = a.tree.Seek(0, io.SeekStart)
	}
	if a.err != nil {
		a.tree.Close()
		return a
	}
	var script bytes.Buffer
	if err := t.dpkg(ctx, &script, "--info", file, "postinst"); err == nil && script.Len() <= maxText { // most packages have none
		a.script = script.String()
	}
	return a
}

// dpkg runs dpkg-deb, whose output goes to out.
func (t *tree) dpkg(ctx context.Context, out io.Writer, args ...string) error {
	var said kit.Tail
	c := exec.CommandContext(ctx, "dpkg-deb", args...)
	c.Env, c.Stdout, c.Stderr = t.env.List(), out, &said
	if err := c.Run(); err != nil {
		return errors.Join(err, errors.New(said.String()))
	}
	return nil
}
