package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/disk"
)

// What a container writes to its root is its own and gone with it; the files of its own that it has in /etc are not the app's to write.
func TestScratch(t *testing.T) {
	h := openHost(t)
	do := func(size int64, args ...string) string {
		t.Helper()
		out, _ := run(t, h, Spec{Args: append([]string{"/probe"}, args...), UID: 1000, GID: 1000, Owner: h.UID(5, "app"), Layers: userImage(t), Memory: 64 << 20, Scratch: size})
		return out
	}
	for _, c := range []struct {
		name string
		size int64
		args []string
		want string
	}{
		{"read-only without it", 0, []string{"write", "/home/me/new", "1"}, "read-only file system"},
		{"a new file", 1 << 20, []string{"write", "/home/me/new", "1"}, "<nil>"},
		{"a file of the image", 1 << 20, []string{"write", "/home/me/secret", "1"}, "<nil>"},
		{"what another wrote", 1 << 20, []string{"read", "/home/me/new"}, "no such file"},
		{"what another changed", 1 << 20, []string{"read", "/home/me/secret"}, "mine"},
		{"what is not its own", 1 << 20, []string{"write", "/etc/passwd", "1"}, "permission denied"},
		{"its own /etc", 1 << 20, []string{"write", "/etc/resolv.conf", "1"}, "permission denied"},
		{"the root", 1 << 20, []string{"write", "/new", "1"}, "permission denied"},
		{"too much", 1 << 20, []string{"write", "/home/me/new", "2000000"}, "no space left"},
	} {
		if out := do(c.size, c.args...); !strings.Contains(out, c.want) {
			t.Errorf("%s: %q, want %q", c.name, out, c.want)
		}
	}
}

// The attack: an app writes beside its code until it can write no more, in large files, and then in empty ones, which take no bytes. The disk
// of the host must not change, and what is in memory must stay within the app's limit, and be gone with it.
func TestAttack_FillsItsRoot(t *testing.T) {
	h := openHost(t)
	before, err := disk.Free(h.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Args: []string{"/probe", "fill", "/home/me"}, UID: 1000, GID: 1000, Owner: h.UID(6, "app"), Layers: userImage(t), Memory: 64 << 20, Scratch: 16 << 20}
	out, _ := run(t, h, s)
	var large, empty int64
	if n, _ := fmt.Sscanf(out, "filled with %d MiB, and %d empty files", &large, &empty); n != 2 || large < 14 || large > 16 || empty > s.Scratch/4096 {
		t.Errorf("it was %q", out)
	}
	s.Scratch = 1 << 30 // more than its memory
	if out, e := run(t, h, s); !e.OutOfMemory || strings.Contains(out, "filled") {
		t.Errorf("beyond its memory: %+v %q", e, out)
	}
	if after, err := disk.Free(h.opts.Dir); err != nil || before.Bytes-after.Bytes > 32<<20 || before.Total > 0 && before.Entries-after.Entries > 1000 {
		t.Errorf("the disk had %+v, and has %+v (%v)", before, after, err)
	}
	log := filepath.Join(t.TempDir(), "log")
	s.ID, s.Args, s.LogFile = "stays", []string{"/probe", "sleep", "1h"}, log
	c := start(t, h, s)
	if files, err := os.ReadDir(filepath.Join(c.dir, "written")); err != nil || len(files) > 0 {
		t.Errorf("on the host it wrote %v (%v)", files, err)
	}
	if err := c.Remove(within(t, 10*time.Second)); err != nil {
		t.Error(err)
	}
}
