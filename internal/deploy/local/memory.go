package local

import (
	"bufio"
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// unknownMemory is a very large number, where the machine does not tell.
const unknownMemory = int64(1) << 62

// Memory implements deploy.Platform.
func (p *Platform) Memory(context.Context) (total, left int64) {
	if total = memoryInfo("MemTotal:"); total == unknownMemory {
		return 0, 0
	}
	return total, p.opts.MemoryLeft() - p.promised.Load()
}

// memoryLeft is the machine's available memory in bytes, without swapping.
func memoryLeft() int64 { return memoryInfo("MemAvailable:") }

// memoryInfo reads an entry of /proc/meminfo in bytes.
func memoryInfo(name string) int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return unknownMemory
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == name {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return unknownMemory
}

// lowMemoryEvery is how often the log repeats that a revision gets no more instances.
const lowMemoryEvery = time.Minute

// hasMemory reports whether the machine has memory for one more instance: for its limit, and for the limits of the instances that are
// starting. The first instance of a revision is started in any case: an app needs one to answer. The caller holds mu.
func (r *revision) hasMemory(alive int, now time.Time) bool {
	if alive == 0 {
		return true
	}
	left, need := r.p.opts.MemoryLeft()-r.p.promised.Load(), r.memory()
	if left >= need {
		return true
	}
	if now.Sub(r.lowMemory) >= lowMemoryEvery {
		r.lowMemory = now
		r.p.opts.Log("deploy: %s stays at %d instances: the machine has %s of memory left, and an instance may use %s",
			r.name, alive, app.Size(max(left, 0)), app.Size(need))
	}
	return false
}
