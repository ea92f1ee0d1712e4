package sandbox

import (
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/disk"
)

// A container's state is a few small files beside the data that gitd keeps. Where that disk is full, apps at zero must still start: then the
// state is in memory, in the system's folder for what does not outlive it. No state of a container does.

// Below this much of free space a disk is too full for a container's state.
const (
	tightBytes   = 16 << 20
	tightEntries = 500
)

// volatileDir is where the state of containers is while the Host's disk is full.
func volatileDir(id string) string { return "/run/gitd-" + id }

// bases are the folders that may hold the state of containers.
func (h *Host) bases() []string { return []string{h.opts.Dir, volatileDir(h.id)} }

// base is the one for a new container. What a writable one writes is on the disk always.
func (h *Host) base(s *Spec) (string, error) {
	free, err := disk.Free(h.opts.Dir)
	if err != nil || s.Writable || free.Bytes >= tightBytes && (free.Total <= 0 || free.Entries >= tightEntries) {
		return h.opts.Dir, nil
	}
	h.opts.Log("sandbox: the disk of %s is full: the state of container %s is in %s", h.opts.Dir, s.ID, volatileDir(h.id))
	return volatileDir(h.id), makeBase(volatileDir(h.id))
}

// makeBase makes the folders of a base.
func makeBase(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, containersDir), filepath.Join(dir, runtimeDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700)
}

// removeVolatile removes the folders in memory when they are empty.
func (h *Host) removeVolatile() {
	dir := volatileDir(h.id)
	for _, d := range []string{filepath.Join(dir, containersDir), filepath.Join(dir, runtimeDir), dir} {
		_ = os.Remove(d)
	}
}
