package sandbox

import (
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
)

// UIDs are user IDs of this machine, and group IDs of the same numbers, that stand for apps: one for each. The kernel counts much by user
// (inotify, message queues, pending signals, pipes' memory), and lets processes of a user at each other. The zero value is DefaultUIDs.
type UIDs struct{ First, Last uint32 }

// DefaultUIDs end below 2^21: the older tar formats, which some build tools write, hold no larger user ID.
var DefaultUIDs = UIDs{2_000_000, 2_089_999}

// of returns the user ID of an app. IDs of apps are never given twice; after as many apps as there are user IDs they begin again. An app
// without an ID, as an older gitd left it, has one by its name.
func (u UIDs) of(id int64, name string) uint32 {
	n := uint64(u.Last-u.First) + 1
	if id > 0 {
		return u.First + uint32(uint64(id-1)%n)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return u.First + uint32(h.Sum64()%n)
}

// taken describes what else uses some of the IDs: users, groups and the ranges of users' own containers.
func (u UIDs) taken() []string {
	var found []string
	for _, f := range []struct {
		name      string
		id, count int // fields; count is -1 for one ID
	}{{"/etc/passwd", 2, -1}, {"/etc/group", 2, -1}, {"/etc/subuid", 1, 2}, {"/etc/subgid", 1, 2}} {
		b, _ := os.ReadFile(f.name)
		for line := range strings.Lines(string(b)) {
			if first, ok := u.meets(strings.Split(strings.TrimSpace(line), ":"), f.id, f.count); ok {
				found = append(found, fmt.Sprintf("%s gives %d to %s", f.name, first, strings.SplitN(line, ":", 2)[0]))
				break
			}
		}
	}
	return found
}

// meets says whether a line's IDs are among u.
func (u UIDs) meets(fields []string, id, count int) (uint64, bool) {
	if len(fields) <= max(id, count) {
		return 0, false
	}
	first, err := strconv.ParseUint(fields[id], 10, 32)
	n := uint64(1)
	if err == nil && count >= 0 {
		n, err = strconv.ParseUint(fields[count], 10, 32)
	}
	return first, err == nil && n > 0 && first <= uint64(u.Last) && first+n > uint64(u.First)
}

// UID returns the user ID, and group ID, on this machine of an app's processes and of the files that a build of it writes: its own, and
// the same for as long as it exists. id is the app's ID, 0 where it is not known.
func (h *Host) UID(id int64, name string) uint32 { return h.opts.UIDs.of(id, name) }
