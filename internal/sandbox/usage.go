package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a container uses of the machine.
type Usage struct {
	Memory int64         // bytes now, without files that the kernel would drop first
	CPU    time.Duration // of the processor, since the container's start
}

// Usage returns what the container uses; false where that is not known, or it has ended.
func (c *Container) Usage() (Usage, bool) {
	select {
	case <-c.done:
		return Usage{}, false
	default:
		return c.host.cgroups.usage(c.ID)
	}
}

func (g *cgroups) usage(id string) (u Usage, ok bool) {
	memory, inactive, cpu := int64(-1), int64(0), int64(-1)
	for _, root := range g.roots {
		d := filepath.Join(root, g.parent, id)
		for file, to := range map[string]*int64{"memory.current": &memory, "memory.usage_in_bytes": &memory, "cpuacct.usage": &cpu} {
			if n, err := strconv.ParseInt(strings.TrimSpace(contentOf(filepath.Join(d, file))), 10, 64); err == nil {
				*to = n
			}
		}
		stat := contentOf(filepath.Join(d, "memory.stat"))
		inactive = max(inactive, field(stat, "inactive_file"), field(stat, "total_inactive_file"))
		if n := field(contentOf(filepath.Join(d, "cpu.stat")), "usage_usec"); n > 0 && g.unified {
			cpu = n * int64(time.Microsecond)
		}
	}
	if memory < 0 || cpu < 0 {
		return u, false
	}
	return Usage{Memory: max(memory-inactive, 0), CPU: time.Duration(cpu)}, true
}

func contentOf(file string) string {
	b, _ := os.ReadFile(file) // what is not there is of another version
	return string(b)
}

// field returns the number after a name in a file of "NAME NUMBER" lines; 0 where there is none.
func field(text, name string) int64 {
	for line := range strings.Lines(text) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == name {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}
