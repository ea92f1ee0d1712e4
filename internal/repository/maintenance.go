package repository

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
	mu      sync.Mutex    // held while one begins, and while all are ended
	running sync.WaitGroup
}

func newUpkeep() *upkeep {
	u := &upkeep{turn: make(chan struct{}, 1)}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	return u
}

// start runs f beside everything else, unless maintenance was stopped. begin says whether f is wanted.
func (u *upkeep) start(begin func() bool, f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() == nil && begin() {
		u.running.Go(f)
	}
}

// stop ends maintenance, and waits for its end.
func (u *upkeep) stop() {
	u.mu.Lock()
	u.cancel()
	u.mu.Unlock()
	u.running.Wait()
}

// Maintain puts the packs together in the background when there are too many. It returns at once.
func (r *Repository) Maintain() {
	if r.tooManyPacks() {
		r.folder.upkeep.start(r.packs.startMaintenance, r.maintain)
	}
}

func (r *Repository) maintain() {
	defer r.packs.endMaintenance()
	ctx := r.folder.upkeep.ctx
	for r.tooManyPacks() {
		joined, err := r.joinPacks(ctx)
		if ctx.Err() != nil {
			return
		}
		packs, gone := listPacks(r.packDir())
		if gone != nil { // the app was destroyed meanwhile
			return
		}
		if err != nil {
			r.folder.opts.Log("maintenance of %s: %v", r.name, err)
		}
		if err != nil || joined == "" {
			r.packs.restUntil(2 * len(packs)) // it is likely to come to the same again
			return
		}
		r.packs.restUntil(0)
	}
}

func (r *Repository) tooManyPacks() bool {
	packs, err := listPacks(r.packDir())
	return err == nil && len(packs) > r.limits().Packs && !r.packs.resting(len(packs))
}

// joinPacks makes one pack of the small ones, and deletes these when no reader can have them open any more. It returns the
// new pack's name, and "" where there is nothing to do.
func (r *Repository) joinPacks(ctx context.Context) (joined string, err error) {
	small, joined, err := r.makeJoined(ctx)
	if err != nil || joined == "" {
		return joined, err
	}
	// A git process looks again for an object that has moved to another pack. An indexer of another kind need not.
	select {
	case <-r.packs.retireReaders():
		return joined, r.deletePacks(small, joined)
	case <-ctx.Done():
		return joined, ctx.Err()
	}
}

// makeJoined adds a pack to the repository that stands for small.
func (r *Repository) makeJoined(ctx context.Context) (small []packFile, joined string, err error) {
	select {
	case r.folder.upkeep.turn <- struct{}{}:
		defer func() { <-r.folder.upkeep.turn }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	to := r.packDir()
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
	if short := free.Short(r.limits().MinFree + need); short != "" {
		return nil, "", fmt.Errorf("%d packs stay as they are: the disk is nearly full: %s", len(packs), short)
	}
	dir, err := os.MkdirTemp(filepath.Join(r.path, "objects"), "tmp_objdir-joined-")
	if err != nil {
		return nil, "", err
	}
	defer disk.RemoveAll(dir)
	from := filepath.Join(dir, "pack")
	if err := os.Mkdir(from, 0o755); err != nil {
		return nil, "", err
	}
	o := objects{repository: r.path, quarantine: dir, background: true}
	id, err := o.run(ctx, list.String(), r.limits(), "-c", "pack.threads=1", "-c", "pack.windowMemory=64m", "-c", "core.bigFileThreshold=16m",
		"-c", "core.fsync=none", "pack-objects", "--stdin-packs", "--delta-base-offset", "--quiet", filepath.Join(from, "pack"))
	if err != nil {
		return nil, "", err
	}
	joined = "pack-" + strings.TrimSpace(id)
	files, err := syncPacks(from)
	if err != nil {
		return nil, "", err
	}
	return small, joined, r.takeOver(from, files)
}

// deletePacks removes packs whose objects are in the pack joined. Where that one is missing, the repository is another one
// than it was, and nothing is removed.
func (r *Repository) deletePacks(packs []packFile, joined string) error {
	r.files.Lock()
	defer r.files.Unlock()
	dir := r.packDir()
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

func (p *packState) startMaintenance() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.maintained {
		return false
	}
	p.maintained = true
	return true
}

func (p *packState) endMaintenance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.maintained = false
}

func (p *packState) restUntil(packs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restsUntil = packs
}

func (p *packState) resting(packs int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return packs < p.restsUntil
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
