package receive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/disk"
)

// Every push leaves a pack, and git looks for an object in one after the other. Maintenance makes one of the small packs, in
// the background. It takes whole packs, whatever is reachable: a release can be rolled back to after a forced push has
// replaced its commit, so no object is ever dropped.

// upkeep is the maintenance of all repositories.
type upkeep struct {
	ctx     context.Context // ends when the server shuts down
	cancel  context.CancelFunc
	turn    chan struct{} // one repository at a time
	running sync.WaitGroup
}

func newUpkeep() *upkeep {
	u := &upkeep{turn: make(chan struct{}, 1)}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	return u
}

// maintain puts the app's packs together in the background when there are too many. It returns at once.
func (s *Server) maintain(name string) {
	if !s.tooManyPacks(name) {
		return
	}
	st := s.store.state(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || !st.startMaintenance() {
		return
	}
	s.upkeep.running.Go(func() {
		defer st.endMaintenance()
		for s.tooManyPacks(name) {
			joined, err := s.joinPacks(s.upkeep.ctx, name)
			if s.upkeep.ctx.Err() != nil {
				return
			}
			packs, gone := listPacks(s.store.packs(name))
			if gone != nil { // the app was destroyed meanwhile
				return
			}
			if err != nil {
				s.opts.Log("maintenance of %s: %v", name, err)
			}
			if err != nil || joined == "" {
				st.restUntil(2 * len(packs)) // it is likely to come to the same again
				return
			}
			st.restUntil(0)
		}
	})
}

func (s *Server) tooManyPacks(name string) bool {
	packs, err := listPacks(s.store.packs(name))
	return err == nil && len(packs) > s.opts.MaxPacks && !s.store.state(name).resting(len(packs))
}

// joinPacks makes one pack of the small ones, and deletes these when nobody can be reading them any more. It returns the
// new pack's name, and "" where there is nothing to do.
func (s *Server) joinPacks(ctx context.Context, name string) (joined string, err error) {
	small, joined, err := s.makeJoined(ctx, name)
	if err != nil || joined == "" {
		return joined, err
	}
	// A git process looks again for an object that has moved to another pack. An indexer of another kind need not.
	select {
	case <-s.store.state(name).retireReaders():
		return joined, s.store.deletePacks(name, small, joined)
	case <-ctx.Done():
		return joined, ctx.Err()
	}
}

// makeJoined adds a pack to the repository that stands for small.
func (s *Server) makeJoined(ctx context.Context, name string) (small []packFile, joined string, err error) {
	select {
	case s.upkeep.turn <- struct{}{}:
		defer func() { <-s.upkeep.turn }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	to := s.store.packs(name)
	packs, err := listPacks(to)
	if err != nil {
		return nil, "", err
	}
	small = smallPacks(packs)
	if len(small) == 0 {
		return nil, "", nil
	}
	var need int64
	var list strings.Builder
	for _, p := range small {
		need += p.bytes
		fmt.Fprintf(&list, "%s.pack\n", p.name)
	}
	free, err := disk.Free(to)
	if err != nil {
		return nil, "", err
	}
	if short := free.Short(s.opts.MinFree + need); short != "" {
		return nil, "", fmt.Errorf("%d packs stay as they are: the disk is nearly full: %s", len(packs), short)
	}
	repository := s.store.path(name)
	dir, err := os.MkdirTemp(filepath.Join(repository, "objects"), "tmp_objdir-joined-")
	if err != nil {
		return nil, "", err
	}
	defer disk.RemoveAll(dir)
	from := filepath.Join(dir, "pack")
	if err := os.Mkdir(from, 0o755); err != nil {
		return nil, "", err
	}
	o := objects{repository: repository, quarantine: dir, background: true}
	id, err := o.run(ctx, list.String(), s.opts, "-c", "pack.threads=1", "-c", "pack.windowMemory=64m", "-c", "core.bigFileThreshold=16m",
		"-c", "core.fsync=none", "pack-objects", "--stdin-packs", "--delta-base-offset", "--quiet", filepath.Join(from, "pack"))
	if err != nil {
		return nil, "", err
	}
	joined = "pack-" + strings.TrimSpace(id)
	files, err := syncPacks(from)
	if err != nil {
		return nil, "", err
	}
	return small, joined, s.store.takeOver(name, from, files)
}

// deletePacks removes packs whose objects are in the pack joined. Where that one is missing, the repository is another one
// than it was, and nothing is removed.
func (s *store) deletePacks(name string, packs []packFile, joined string) error {
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	dir := s.packs(name)
	for _, ext := range []string{".pack", ".idx"} {
		if _, err := os.Lstat(filepath.Join(dir, joined+ext)); err != nil {
			return err
		}
	}
	for _, p := range packs {
		if p.name == joined {
			continue
		}
		for _, ext := range []string{".idx", ".rev", ".pack"} { // without an index it is no pack any more
			if err := os.Remove(filepath.Join(dir, p.name+ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (st *appState) startMaintenance() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.maintained {
		return false
	}
	st.maintained = true
	return true
}

func (st *appState) endMaintenance() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.maintained = false
}

func (st *appState) restUntil(packs int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.restsUntil = packs
}

func (st *appState) resting(packs int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return packs < st.restsUntil
}

// lowPriority lets everything else on the machine go first. It must be called before the process starts threads.
func lowPriority(pid int) error {
	const whoProcess, classIdle, classShift = 1, 3, 13 // ioprio_set(2)
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, 19); err != nil {
		return err
	}
	if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(pid), classIdle<<classShift); e != 0 && e != syscall.ENOSYS {
		return e
	}
	return nil
}
