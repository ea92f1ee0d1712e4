package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is one that belongs to a data directory.
type process struct {
	pid  int
	args string
}

// belongingTo returns the processes that have to do with a data directory: they name it in their arguments, stand in it,
// or see it in their mounts, as everything in a build or an instance does.
func belongingTo(data string) []process {
	entries, _ := os.ReadDir("/proc")
	host, _ := os.Readlink("/proc/self/ns/mnt")
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		raw, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(raw) == 0 { // gone, a zombie, or of the kernel
			continue
		}
		args := string(bytes.TrimSpace(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		mine := strings.Contains(args, data) || strings.HasPrefix(cwd, data)
		if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); !mine && err == nil && ns != host {
			mounts, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
			mine = bytes.Contains(mounts, []byte(data))
		}
		if mine {
			found = append(found, process{pid, args})
		}
	}
	return found
}

func describe(list []process) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%d %s\n", p.pid, p.args)
	}
	return b.String()
}
