package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// cgroups is one Host's subtree of the control groups, in every hierarchy (version 1) or the one (version 2).
type cgroups struct {
	parent  string   // name of the Host's group
	roots   []string // where the hierarchies are mounted
	unified bool     // version 2

	migration *migration
}

// shimsGroup holds the shims, out of reach of a service manager that stops gitd with all of its group. No container has it as its ID.
const shimsGroup = ".shims"

func openCgroups(parent string) (*cgroups, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	g := &cgroups{parent: parent}
	var v2 string
	memory := false
	for line := range strings.Lines(string(b)) {
		// 36 35 98:0 /root /mount options - type source super-options
		mount, fs, ok := strings.Cut(strings.TrimSpace(line), " - ")
		m, f := strings.Fields(mount), strings.Fields(fs)
		if !ok || len(m) < 5 || len(f) < 3 {
			continue
		}
		switch f[0] {
		case "cgroup":
			g.roots = append(g.roots, m[4])
			memory = memory || strings.Contains(","+f[2]+",", ",memory,")
		case "cgroup2":
			v2 = m[4]
		}
	}
	if len(g.roots) > 0 && v2 != "" {
		g.roots = append(g.roots, v2) // beside version 1, without controllers; the runtime makes groups there too
	} else if v2 != "" {
		g.roots, g.unified = []string{v2}, true
		c, _ := os.ReadFile(filepath.Join(v2, "cgroup.controllers"))
		memory = strings.Contains(" "+strings.TrimSpace(string(c))+" ", " memory ")
	}
	if !memory {
		return nil, app.Errorf(app.CodeUnavailable, "boot with cgroup_enable=memory, and mount the control groups at /sys/fs/cgroup",
			"the kernel's memory control group is missing: apps could not be limited")
	}
	g.migration = newMigration(g.roots, ownGroups())
	for _, d := range g.shims() {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, app.Errorf(app.CodeUnavailable, "gitd needs write access to /sys/fs/cgroup", "cannot make the control group %s: %w", d, err)
		}
	}
	return g, nil
}

// group is the name of the group that a container's is in.
func (g *cgroups) group(background bool) string {
	if background {
		return g.background()
	}
	return g.parent
}

// path is what the OCI specification calls cgroupsPath.
func (g *cgroups) path(id string, background bool) string {
	return "/" + g.group(background) + "/" + id
}

// dirs are the directories that may be a container's, one a hierarchy among the apps' and one among the builds'.
func (g *cgroups) dirs(id string) []string {
	var d []string
	for _, parent := range []string{g.parent, g.background()} {
		for _, r := range g.roots {
			d = append(d, filepath.Join(r, parent, id))
		}
	}
	return d
}

// shims are the directories of the shims' group: only where a service manager keeps track of processes.
func (g *cgroups) shims() []string {
	var d []string
	for _, r := range g.roots {
		if g.unified || filepath.Base(r) == "systemd" {
			d = append(d, filepath.Join(r, g.parent, shimsGroup))
		}
	}
	return d
}

// join returns the files to write a shim's process ID to. It creates their group again when it was removed while it was empty.
func (g *cgroups) join() []string {
	var f []string
	for _, d := range g.shims() {
		_ = os.MkdirAll(d, 0o755)
		f = append(f, filepath.Join(d, "cgroup.procs"))
	}
	return f
}

// outOfMemory are the files that count a container's processes that were killed at its memory limit.
func (g *cgroups) outOfMemory(id string, background bool) []string {
	parent := g.group(background)
	if g.unified {
		return []string{filepath.Join(g.roots[0], parent, id, "memory.events")}
	}
	var f []string
	for _, r := range g.roots {
		f = append(f, filepath.Join(r, parent, id, "memory.oom_control"))
	}
	return f
}

// swap says whether swap space can be limited.
func (g *cgroups) swap() bool {
	if g.unified {
		return true // the runtime leaves it out where it is not there
	}
	for _, r := range g.roots {
		if _, err := os.Stat(filepath.Join(r, "memory.memsw.limit_in_bytes")); err == nil {
			return true
		}
	}
	return false
}

// tcpLimit is where the buffers of TCP connections have a limit of their own (version 1). Without it they have none.
const tcpLimit = "memory.kmem.tcp.limit_in_bytes"

// limitTCP gives the buffers of a container's TCP connections the limit that its memory has, where they are apart. The runtime does not.
func (g *cgroups) limitTCP(id string, memory int64) {
	if memory <= 0 || g.unified {
		return
	}
	for _, d := range g.dirs(id) {
		if has(d, tcpLimit) {
			_ = os.WriteFile(filepath.Join(d, tcpLimit), []byte(strconv.FormatInt(memory, 10)), 0)
		}
	}
}

// processes returns the IDs of the processes in a container's group.
func (g *cgroups) processes(id string) []int {
	var pids []int
	for _, d := range g.dirs(id) {
		b, _ := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		if len(pids) > 0 {
			break // every hierarchy has the same, once the runtime is done
		}
	}
	return pids
}

// kill kills everything in a container's group, again and again until it is empty, for two seconds at most.
func (g *cgroups) kill(id string) {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if g.unified {
			for _, d := range g.dirs(id) {
				_ = os.WriteFile(filepath.Join(d, "cgroup.kill"), []byte("1"), 0)
			}
		}
		pids := g.processes(id)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if len(pids) == 0 {
			return
		}
	}
}

// remove removes a container's group, or the Host's own with id "". A group stays busy for a moment after its last process.
func (g *cgroups) remove(id string) {
	dirs := g.dirs(id)
	if id == "" {
		dirs = append(g.shims(), dirs...)
	}
	for _, d := range dirs {
		for range 200 {
			if err := unix.Rmdir(d); err != unix.EBUSY {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
