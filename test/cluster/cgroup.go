package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies lists the directories below /sys/fs/cgroup that each are a control group hierarchy: one for every controller with
// version 1, a single "" with version 2.
func hierarchies() ([]string, error) {
	var fsType unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fsType); err != nil {
		return nil, err
	}
	if fsType.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{""}, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(mounts)) {
		// ID parent major:minor root mount-point options ... - type source superoptions
		fields := strings.Fields(line)
		separator := slices.Index(fields, "-")
		if separator < 0 || len(fields) < separator+2 || fields[separator+1] != "cgroup" {
			continue
		}
		if name, below := strings.CutPrefix(fields[4], cgroupRoot+"/"); below && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no control group hierarchy is mounted at " + cgroupRoot)
	}
	return found, nil
}

// makeCgroup makes the node's control group in each hierarchy.
func makeCgroup(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		parent := filepath.Join(cgroupRoot, h)
		group := filepath.Join(parent, name)
		if err := os.MkdirAll(group, 0o755); err != nil {
			return err
		}
		// A new cpuset is empty, and a process cannot be put into an empty one.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value, err := os.ReadFile(filepath.Join(parent, file)); err == nil {
				if err := os.WriteFile(filepath.Join(group, file), value, 0o644); err != nil {
					return err
				}
			}
		}
		if h == "" {
			delegate(parent)
		}
	}
	return nil
}

// joinCgroup moves the calling process into the node's group. What it starts is in there as well.
func joinCgroup(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := os.WriteFile(filepath.Join(cgroupRoot, h, name, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mountCgroups mounts the hierarchies below root, in a control group namespace whose root is the node's group: the node sees
// nothing above it.
func mountCgroups(root string, names []string) error {
	if slices.Equal(names, []string{""}) {
		if err := unix.Mount("cgroup", root, "cgroup2", 0, ""); err != nil {
			return fmt.Errorf("mount cgroup2: %w", err)
		}
		// With version 2 a group has processes or controllers for its children, not both.
		leaf := filepath.Join(root, "init")
		if err := os.Mkdir(leaf, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return err
		}
		delegate(root)
		return nil
	}
	if err := unix.Mount("cgroup", root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, name := range names {
		options := name // the directory is named by its controllers
		if name == "systemd" {
			options = "none,name=systemd"
		}
		target := filepath.Join(root, name)
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("cgroup", target, "cgroup", 0, options); err != nil {
			return fmt.Errorf("mount the %s control groups: %w", name, err)
		}
	}
	return nil
}

// delegate enables all controllers of a version 2 group for its children.
func delegate(group string) {
	controllers, _ := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	for _, c := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// removeCgroup removes the node's group and all below it, and kills what is still in there. Nothing should be once the daemon has
// ended, but for a moment.
func removeCgroup(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var left error
		for _, h := range all {
			var groups []string
			group := filepath.Join(cgroupRoot, h, name)
			_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups = append(groups, path)
				}
				return nil
			})
			slices.Reverse(groups) // children first
			for _, g := range groups {
				killGroup(g)
				if err := unix.Rmdir(g); err != nil && err != unix.ENOENT {
					left = fmt.Errorf("remove %s: %w", g, err)
				}
			}
		}
		if left == nil || time.Now().After(deadline) {
			return left
		}
	}
}

// killGroup kills the processes of a group.
func killGroup(group string) {
	members, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	for member := range strings.FieldsSeq(string(members)) {
		if pid, err := strconv.Atoi(member); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
