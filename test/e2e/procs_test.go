package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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

// group is the name of the control group that everything in a sandbox of a data directory is in; builds are in another one beside it,
// whose name goes on with "-builds".
func group(data string) string {
	if real, err := filepath.EvalSymlinks(data); err == nil {
		data = real
	}
	sum := sha256.Sum256([]byte(filepath.Join(data, "sandbox")))
	return "gitd-" + hex.EncodeToString(sum[:3])
}

// belongingTo returns the processes that have to do with a data directory: they name it in their arguments, stand in it,
// or are in one of its sandboxes.
func belongingTo(data string) []process {
	entries, _ := os.ReadDir("/proc")
	apps, builds := []byte(":/"+group(data)+"/"), []byte(":/"+group(data)+"-builds/")
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
		if !mine {
			groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
			mine = bytes.Contains(groups, apps) || bytes.Contains(groups, builds)
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
