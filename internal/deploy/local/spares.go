package local

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// How long an app at zero keeps its prepared instance, and how often it is looked whether the machine has room for them.
const (
	sparesFor  = 6 * time.Hour
	sparesLook = 5 * time.Second
	sparesWait = 250 * time.Millisecond // while instances start
)

// Bounds of prepared instances: one for so much of the machine's memory, and none while less of it than a part is left, or more of the
// kernel's threads than a part are taken.
const (
	memoryOfSpare = 256 << 20
	mostSpares    = 64
	freeMemory    = 8      // one part of so many
	takenThreads  = 3. / 4 // of the kernel's limit
)

// spares keeps apps at zero prepared, those that were used last, as far as the machine has room.
type spares struct {
	p     *Platform
	most  int
	woken chan struct{}
	kept  map[string]time.Time // what the file has
}

func newSpares(p *Platform) *spares {
	by := int(max(memoryInfo("MemTotal:")/memoryOfSpare, 2))
	return &spares{p: p, most: min(cmp.Or(p.opts.Prepared, mostSpares), by), woken: make(chan struct{}, 1)}
}

// wake has the spares looked at soon. It does not block.
func (s *spares) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// run prepares instances, one at a time, until the Platform is closed.
func (s *spares) run() {
	if s.most < 0 {
		return
	}
	s.recall()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.p.ctx.Done():
			return
		case <-s.woken:
		case <-timer.C:
		}
		if again := s.look(time.Now()); again > 0 {
			timer.Reset(again)
		} else {
			timer.Stop()
		}
	}
}

// look drops what must go, and prepares what may be. It returns the time until the next look; 0 for none before there is something new.
func (s *spares) look(now time.Time) time.Duration {
	all := s.candidates(now)
	if len(all) == 0 {
		return 0
	}
	if err := s.room(); err != nil {
		s.dropOldest(all)
		return sparesLook
	}
	if len(all) > s.most {
		for _, r := range all[s.most:] {
			s.drop(r)
		}
		all = all[:s.most]
	}
	s.keep(all)
	for _, r := range all {
		r.mu.Lock()
		there := r.spare != nil
		r.mu.Unlock()
		if there {
			continue
		}
		if !s.p.starts.idle() { // a start is not to be delayed
			return sparesWait
		}
		if err := r.prepare(s.p.ctx); err != nil {
			s.p.opts.Log("deploy: no instance of %s is prepared: %v", r.name, err)
		}
		return time.Millisecond // what was true before may not be now
	}
	return sparesLook
}

// candidates are the revisions at zero that may have a prepared instance, the one that was used last first. One that was not used for long loses its.
func (s *spares) candidates(now time.Time) []*revision {
	var all []*revision
	used := map[*revision]time.Time{}
	for _, r := range s.p.revisions() {
		r.mu.Lock()
		if !r.usedUntil.IsZero() && now.Sub(r.usedUntil) >= sparesFor {
			r.usedUntil = time.Time{}
			r.drop()
		}
		if s := r.spare; s != nil && s.container != nil && isClosed(s.container.Done()) { // it was killed
			r.usedUntil = time.Time{}
			r.drop()
		}
		if !r.usedUntil.IsZero() && len(r.instances) == 0 {
			all, used[r] = append(all, r), r.usedUntil
		}
		r.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b *revision) int { return used[b].Compare(used[a]) })
	return all
}

// dropOldest drops the prepared instance that was not needed for longest.
func (s *spares) dropOldest(all []*revision) {
	for _, r := range slices.Backward(all) {
		if s.drop(r) {
			return
		}
	}
}

// drop drops the prepared instance of a revision, which stays a candidate. It says whether there was one.
func (s *spares) drop(r *revision) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop() != nil
}

// close drops all. Nothing is prepared any more.
func (s *spares) close() {
	for _, r := range s.p.revisions() {
		s.drop(r)
	}
}

// sparesFile names the revisions that are prepared, and when they were used last, so that the next process prepares them again.
func (s *spares) sparesFile() string { return filepath.Join(s.p.opts.Dir, "prepared.json") }

// keep writes the file where it is to change. It is not synced: without it, apps start as if they were not prepared.
func (s *spares) keep(all []*revision) {
	now := map[string]time.Time{}
	for _, r := range all {
		r.mu.Lock()
		if !r.usedUntil.IsZero() {
			now[r.service+"/"+r.name] = r.usedUntil.Round(0)
		}
		r.mu.Unlock()
	}
	if maps.Equal(now, s.kept) {
		return
	}
	b, err := json.Marshal(now)
	if err == nil {
		err = os.WriteFile(s.sparesFile()+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(s.sparesFile()+".new", s.sparesFile())
	}
	if err == nil {
		s.kept = now
	}
}

// recall has what the process before had prepared be prepared again.
func (s *spares) recall() {
	var before map[string]time.Time
	if err := read(s.sparesFile(), &before); err != nil {
		return // the first process, or a full disk
	}
	for _, r := range s.p.revisions() {
		if used, ok := before[r.service+"/"+r.name]; ok && used.Before(time.Now()) {
			r.mu.Lock()
			if r.reachable && !r.halted && !r.noWeb && r.fewest == 0 {
				r.usedUntil = used
			}
			r.mu.Unlock()
		}
	}
}

// room returns an error that says what the machine lacks for prepared instances.
func (s *spares) room() error {
	total := memoryInfo("MemTotal:")
	if left := s.p.opts.MemoryLeft() - s.p.promised.Load(); total != unknownMemory && left < total/freeMemory {
		return fmt.Errorf("%s of memory are left", app.Size(max(left, 0)))
	}
	if threads, most := threadsOf("/proc"); most > 0 && float64(threads) > takenThreads*float64(most) {
		return fmt.Errorf("%d threads of %d are there", threads, most)
	}
	return nil
}

// threadsOf returns how many threads there are and may be, by a /proc; 0 where it does not say.
func threadsOf(proc string) (threads, most int) {
	b, _ := os.ReadFile(filepath.Join(proc, "loadavg"))
	if f := strings.Fields(string(b)); len(f) >= 4 {
		_, all, _ := strings.Cut(f[3], "/")
		threads, _ = strconv.Atoi(all)
	}
	for _, name := range []string{"sys/kernel/pid_max", "sys/kernel/threads-max"} {
		f, err := os.Open(filepath.Join(proc, name))
		if err != nil {
			continue
		}
		line, _ := bufio.NewReader(f).ReadString('\n')
		_ = f.Close()
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && (most == 0 || n < most) {
			most = n
		}
	}
	return threads, most
}

// revisions are those of all Services.
func (p *Platform) revisions() []*revision {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all []*revision
	for _, s := range p.services {
		for _, r := range s.revisions {
			all = append(all, r)
		}
	}
	return all
}

// prepared is how many revisions have a prepared instance.
func (p *Platform) prepared() (n int) {
	for _, r := range p.revisions() {
		r.mu.Lock()
		if r.spare != nil && r.spare.container != nil {
			n++
		}
		r.mu.Unlock()
	}
	return n
}
