package sandbox

import (
	"io"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/parts"
)

// phasesLifecycle is the version of the lifecycle that gitd-phases is made of.
const phasesLifecycle = "0.21.0"

// placePhases copies gitd-phases into the engine's directory, where the users of builds can run it, and where it stays the one of this version also when
// another is installed while we run. A builder with another lifecycle detects and builds with its own.
func (e *Engine) placePhases() error {
	if e.launcher != phasesLifecycle {
		return nil
	}
	program, err := parts.Path(parts.Phases)
	if err != nil {
		return err
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	e.phases = filepath.Join(e.opts.Dir, "phases")
	if there, err := os.Lstat(e.phases); err == nil && there.Mode() == 0o755 && there.Size() == info.Size() && there.ModTime().Equal(info.ModTime()) {
		return nil
	}
	err = disk.Replace(e.phases, 0o755, func(f *os.File) error {
		_, err := io.Copy(f, from)
		return err
	})
	if err != nil {
		return err
	}
	return os.Chtimes(e.phases, info.ModTime(), info.ModTime())
}
