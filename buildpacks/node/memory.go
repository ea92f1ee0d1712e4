package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Node.js takes half of the memory that a container may use for its heap, and ends where that is full. Three quarters leave enough for the rest.
const heapShare = 75 // per cent

var heapFlag = pattern.New(`--max[-_]old[-_]space[-_]size=(\d+)`)

// setHeap lets the build's programs use more of the memory, where the app does not say how much.
func (b *build) setHeap() {
	if strings.Contains(b.env["NODE_OPTIONS"], "max") {
		return
	}
	if mb := memoryLimit() >> 20 * heapShare / 100; mb > 0 {
		b.env["NODE_OPTIONS"] = strings.TrimSpace(fmt.Sprintf("%s --max-old-space-size=%d", b.env["NODE_OPTIONS"], mb))
	}
}

// memoryLimit is the memory that this container may use, in bytes; 0 for no limit.
func memoryLimit() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// "max", or a number near the largest, is no limit.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n < 1<<50 {
			return n
		}
	}
	return 0
}

// heapOption is the option by which the app's Node.js takes its heap's limit from the container's memory; "" where it has none.
func (b *build) heapOption() string {
	if v, err := semver.NewVersion(b.node.version); err != nil || v.Major() < 22 {
		return ""
	}
	option := fmt.Sprintf("--max-old-space-size-percentage=%d", heapShare)
	env := b.env.Clone()
	env["NODE_OPTIONS"] = option
	if _, err := (kit.Cmd{Args: []string{b.node.exe, "-e", ""}, Env: env, Out: discard{}}).Run(); err != nil {
		return ""
	}
	return option
}

// heapScript does the same for a Node.js without that option, at each start: the launcher runs it and takes over what it writes to descriptor 3. Without a
// limit, and where the app says how much, it says nothing.
const heapScript = `#!/bin/sh
case "$NODE_OPTIONS" in *max?old*|*[\"\\]*) exit 0 ;; esac
for file in ${CGROUP:-/sys/fs/cgroup}/memory.max ${CGROUP:-/sys/fs/cgroup}/memory/memory.limit_in_bytes; do
  [ -r "$file" ] && read -r limit <"$file" && break
done
case "$limit" in '' | *[!0-9]* | ????????????????*) exit 0 ;; esac
mb=$((limit / 1048576 * 3 / 4))
[ $mb -gt 0 ] && printf 'NODE_OPTIONS = "%s"\n' "${NODE_OPTIONS:+$NODE_OPTIONS }--max-old-space-size=$mb" >&3
exit 0
`

// writeHeapScript puts it into a layer, where the launcher looks for it.
func writeHeapScript(layer string) error {
	return kit.WriteProgram(filepath.Join(layer, "exec.d", "heap"), heapScript)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
