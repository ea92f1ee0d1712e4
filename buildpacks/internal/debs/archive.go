package debs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

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

// open decompresses a package into a file of its own, unless the server has done so.
func (t *tree) open(ctx context.Context, file string) (a archive) {
	if base, ok := strings.CutSuffix(file, preparedTree); ok {
		return openPrepared(base)
	}
	if a.tree, a.err = os.CreateTemp(t.temporary, "tree-"); a.err != nil {
		return a
	}
	a.err = errors.Join(os.Remove(a.tree.Name()), dpkg(ctx, t.env, a.tree, "--fsys-tarfile", file))
	if a.err == nil {
		_, a.err = a.tree.Seek(0, io.SeekStart)
	}
	if a.err != nil {
		a.tree.Close()
		return a
	}
	a.script = script(ctx, t.env, file)
	return a
}

// script returns what a package runs after its installation; "" where it has nothing, as most.
func script(ctx context.Context, env kit.Env, file string) string {
	var text bytes.Buffer
	if err := dpkg(ctx, env, &text, "--info", file, "postinst"); err != nil || text.Len() > maxText {
		return ""
	}
	return text.String()
}

// dpkg runs dpkg-deb, whose output goes to out.
func dpkg(ctx context.Context, env kit.Env, out io.Writer, args ...string) error {
	var said kit.Tail
	c := exec.CommandContext(ctx, "dpkg-deb", args...)
	c.Env, c.Stdout, c.Stderr = env.List(), out, &said
	if err := c.Run(); err != nil {
		return errors.Join(err, errors.New(said.String()))
	}
	return nil
}
