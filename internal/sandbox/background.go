package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
)

// Builds, and what gitd does for them, are in a group of their own at the top, beside the apps' and the one that gitd is in: so that all of them
// together have less weight than requests. Within the apps' group they would take time from the apps only, and not from gitd's proxy.

// Shares of the processor and the disk, where others have 100 (version 2) and 1024 (version 1).
const (
	backgroundWeight = 25
	backgroundShares = backgroundWeight * 1024 / 100
)

func (g *cgroups) background() string { return g.parent + "-builds" }

// controllers that we set limits of, or whose absence would be felt.
var controllers = []string{"memory", "pids", "cpu", "io"}

// makeBackground creates the group of all builds, with its low weight, also when it was removed meanwhile.
func (g *cgroups) makeBackground() error {
	if g.unified {
		g.enable(g.roots[0])
	}
	for _, r := range g.roots {
		d := filepath.Join(r, g.background())
		if _, err := os.Stat(d); err == nil {
			continue
		}
		if has(r, "cpuset.cpus") && !g.unified { // the runtime makes this one: without processors in it nothing can enter
			continue
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		for name, value := range map[string]int{
			"cpu.weight": backgroundWeight, "io.weight": backgroundWeight, "io.bfq.weight": backgroundWeight,
			"cpu.shares": backgroundShares, "blkio.weight": backgroundWeight, "blkio.bfq.weight": backgroundWeight,
		} {
			if has(d, name) {
				_ = os.WriteFile(filepath.Join(d, name), []byte(strconv.Itoa(value)), 0) // a kernel may have the file and not the feature
			}
		}
		if g.unified {
			g.enable(d)
		}
	}
	return nil
}

// enable makes a group of version 2 pass the controllers on to the groups in it, those that there are.
func (g *cgroups) enable(dir string) {
	for _, c := range controllers {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// make makes a group with limits among the builds'. The runtime makes those of containers.
func (g *cgroups) make(id string, l RoomLimits) error {
	if err := g.makeBackground(); err != nil {
		return err
	}
	const period = 100_000 // microseconds
	quota := "max"
	if l.CPU > 0 {
		quota = strconv.FormatInt(max(int64(l.CPU*period), 1000), 10)
	}
	limits := []struct{ name, value string }{ // in this order: memory with swap cannot be less than memory
		{"memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10)}, {"memory.memsw.limit_in_bytes", strconv.FormatInt(l.Memory, 10)},
		{tcpLimit, strconv.FormatInt(l.Memory, 10)},
		{"memory.max", strconv.FormatInt(l.Memory, 10)}, {"memory.swap.max", "0"}, {"memory.oom.group", "1"},
		{"pids.max", strconv.FormatInt(l.PIDs, 10)},
		{"cpu.max", quota + " " + strconv.Itoa(period)},
	}
	if l.CPU > 0 {
		limits = append(limits, struct{ name, value string }{"cpu.cfs_quota_us", quota})
	}
	for _, r := range g.roots {
		if has(r, "cpuset.cpus") && !g.unified {
			continue
		}
		d := filepath.Join(r, g.background(), id)
		if err := os.Mkdir(d, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
		for _, f := range limits {
			if !has(d, f.name) {
				continue
			}
			if err := os.WriteFile(filepath.Join(d, f.name), []byte(f.value), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter moves a process into a group that make made.
func (g *cgroups) enter(id string, pid int) error {
	for _, r := range g.roots {
		d := filepath.Join(r, g.background(), id)
		if !has(d, "cgroup.procs") {
			continue // the hierarchy has no part in it
		}
		if err := os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}
