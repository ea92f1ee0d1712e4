package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// sweepPrefix starts the names of the scripts' directories.
const sweepPrefix = "gitd-e2e-"

// scratch makes a directory that sweep removes should this process not live to do so.
func scratch() (string, error) {
	dir, err := os.MkdirTemp("", sweepPrefix)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "owner"), []byte(strconv.Itoa(os.Getpid())), 0o600)
}

// sweep removes what a run that was killed left on the machine.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), sweepPrefix+"*"))
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "owner"))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil || pid == 0 || syscall.Kill(pid, 0) == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "e2e: removing %s of a run that did not end well\n", dir)
		data := filepath.Join(dir, "data")
		for _, p := range belongingTo(data) {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if _, err := os.Stat(data); err == nil {
			if out, err := purge(data); err != nil {
				fmt.Fprintf(os.Stderr, "e2e: gitd purge: %v\n%s", err, out)
			}
		}
		unmount(mountsUnder(dir))
		if len(mountsUnder(dir)) == 0 {
			_ = os.RemoveAll(dir)
		}
	}
}

// mountsUnder returns the mount points below dir, the last one mounted first.
func mountsUnder(dir string) []string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append([]string{f[4]}, points...)
		}
	}
	return points
}

func unmount(points []string) {
	for _, p := range points {
		_ = syscall.Unmount(p, syscall.MNT_DETACH)
	}
}
