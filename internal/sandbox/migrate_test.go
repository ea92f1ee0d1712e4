package sandbox

import (
	"testing"
	"time"
)

func TestMigration_Hierarchy(t *testing.T) {
	const old = "9:name=systemd:/system.slice/gitd.service\n4:memory:/system.slice\n2:cpu,cpuacct:/a:b\n0::/system.slice/gitd.service\n"
	for _, c := range []struct {
		name     string
		roots    []string
		groups   string
		root, id string
	}{
		{"version 2", []string{"/sys/fs/cgroup"}, "0::/system.slice/gitd.service\n", "/sys/fs/cgroup", "0::"},
		{"version 1", []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/unified"}, old, "/sys/fs/cgroup/memory", "4:memory:"},
		{"two controllers", []string{"/sys/fs/cgroup/cpu,cpuacct"}, old, "/sys/fs/cgroup/cpu,cpuacct", "2:cpu,cpuacct:"},
		{"named", []string{"/sys/fs/cgroup/systemd"}, old, "/sys/fs/cgroup/systemd", "9:name=systemd:"},
		{"not in the table", []string{"/sys/fs/cgroup/pids"}, "4:memory:/\n", "", ""},
		{"no table", []string{"/sys/fs/cgroup"}, "", "", ""},
	} {
		m := newMigration(c.roots, c.groups)
		if c.root == "" {
			if m != nil {
				t.Errorf("%s: %s, %s", c.name, m.root, m.id)
			}
			m.begin() // of none
			continue
		}
		if m == nil || m.root != c.root || m.id != c.id {
			t.Errorf("%s: %+v, want %s and %s", c.name, m, c.root, c.id)
		}
	}
}

// What begins the wait must be a change of groups for the kernel, and none for this process. That it shortens a start is BenchmarkStart's.
func TestMigration_StaysWhereItIs(t *testing.T) {
	h := openHost(t)
	m := h.cgroups.migration
	if m == nil {
		t.Fatal("no hierarchy of this machine was found")
	}
	before := ownGroups()
	if err := m.move(); err != nil {
		t.Fatal(err)
	}
	if now := ownGroups(); now != before {
		t.Errorf("the process's groups were\n%sand are\n%s", before, now)
	}
	m.begin()
	for deadline := time.Now().Add(10 * time.Second); m.waiting.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not end")
		}
	}
}
