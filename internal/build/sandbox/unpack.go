package sandbox

import (
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
)

// artifactsDir is the folder of a build that is the helper's alone.
const artifactsDir = "artifacts"

// mostLayers is how many layers of a build are unpacked at the helper's word. No container has more.
const mostLayers = 127

// unpack begins to unpack a layer for the machine that runs the apps, while the helper compresses it and goes on with the image. Nothing depends on it: who needs
// the layer waits for it, and unpacks it from the image where this failed. What the helper says is not trusted: no name leads out of its folder, and
// no content becomes a layer whose name is another's.
func (e *Engine) unpack(artifacts string, l *wire.Layer) {
	id, err := v1.NewHash(l.DiffID)
	if e.opts.Layers == nil || err != nil || l.File != filepath.Base(l.File) {
		return
	}
	dir, err := os.OpenRoot(artifacts)
	if err != nil {
		return
	}
	defer dir.Close()
	tar, err := dir.OpenFile(filepath.Join(wire.Tars, l.File), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	if info, err := tar.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = tar.Close()
		return
	}
	e.unpacking.Go(func() { _ = e.opts.Layers.Take(e.running, id, tar) })
}
