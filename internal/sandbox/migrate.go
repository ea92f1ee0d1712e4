package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// migration begins what the kernel waits for when a process changes its control group.
//
// The kernel lets no process fork while another changes its group, by a lock whose first writer waits until every processor has passed through
// the scheduler (percpu_down_write on cgroup_threadgroup_rwsem: 8 to 15 ms on an idle machine), and whose next ones, soon after it, do not. The
// runtime is such a writer, half way through a start. One that writes at the beginning has most of the wait over while the shim and the runtime
// are still being executed. A mount option takes the wait away (favordynmods), and would make each fork of the whole machine dearer.
type migration struct {
	root    string // of one hierarchy: the lock is of all
	id      string // of the hierarchy in /proc/self/cgroup, with its controllers: "4:memory:", "0::"
	waiting atomic.Bool
}

// newMigration takes the first of the hierarchies, by where they are mounted, that is in a process's table of groups.
func newMigration(roots []string, groups string) *migration {
	for _, root := range roots {
		for line := range strings.Lines(groups) {
			// 4:memory:/group
			fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(fields) != 3 {
				continue
			}
			name := strings.TrimPrefix(fields[1], "name=")
			if base := filepath.Base(root); fields[1] == "" && len(roots) == 1 || name != "" && base == name {
				return &migration{root: root, id: fields[0] + ":" + fields[1] + ":"}
			}
		}
	}
	return nil
}

// Hasten is for the time when something is about to start: what the kernel makes a start wait for begins now. It does not block.
func (h *Host) Hasten() { h.cgroups.migration.begin() }

// begin starts the wait, and does not block. Where the kernel refuses it nothing is lost.
func (m *migration) begin() {
	if m == nil || !m.waiting.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer m.waiting.Store(false)
		_ = m.move()
	}()
}

// move moves this process to the group that it is in already.
func (m *migration) move() error {
	for line := range strings.Lines(ownGroups()) {
		if group, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), m.id); ok {
			return os.WriteFile(filepath.Join(m.root, group, "cgroup.procs"), []byte("0"), 0)
		}
	}
	return os.ErrNotExist
}

// ownGroups is the table of this process's groups.
func ownGroups() string {
	b, _ := os.ReadFile("/proc/self/cgroup")
	return string(b)
}
