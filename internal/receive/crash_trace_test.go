package receive

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inOrder checks that what the ref leads to is on the disk before the ref is, and each file before it gets its name.
func inOrder(t *testing.T, steps []string) {
	t.Helper()
	at := func(pattern string) int {
		re := regexp.MustCompile(pattern)
		i := slices.IndexFunc(steps, re.MatchString)
		if i < 0 {
			t.Fatalf("no step is %s in %s", pattern, strings.Join(steps, "\n"))
		}
		return i
	}
	order := []string{
		`^fsync .*/tmp_objdir-incoming-[^/]*/pack/pack-.*\.(pack|idx)$`,
		`^linkat .*\.pack crash\.git/objects/pack/pack-.*\.pack$`,
		`^linkat .*\.idx crash\.git/objects/pack/pack-.*\.idx$`,
		`^fsync crash\.git/objects/pack$`,
		`^fsync crash\.git/refs/heads/main\.lock$`,
		`^renameat crash\.git/refs/heads/main\.lock crash\.git/refs/heads/main$`,
		`^fsync crash\.git/refs/heads$`,
	}
	for i := range order[1:] {
		if at(order[i]) >= at(order[i+1]) {
			t.Errorf("%s does not come before %s in\n%s", order[i], order[i+1], strings.Join(steps, "\n"))
		}
	}
	synced, linked := 0, at(order[1])
	for _, s := range steps[:linked] {
		if regexp.MustCompile(order[0]).MatchString(s) {
			synced++
		}
	}
	if synced < 2 {
		t.Errorf("%d files of the pack are synced before it is there", synced)
	}
}

// trace runs a process that is stopped at its start. It returns the steps that it takes in dir, and kills it before step k.
func trace(pid int, dir string, k int) (steps []string, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return nil, err
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return nil, err
	}
	if err := unix.PtraceSyscall(pid, 0); err != nil {
		return nil, err
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return steps, nil
		case err != nil:
			return steps, err
		case !status.Stopped():
			continue
		}
		sig := int(status.StopSignal())
		switch {
		case sig == int(unix.SIGTRAP)|0x80:
			sig = 0
			if step := stepOf(tid, pid, dir, memory); step != "" {
				steps = append(steps, step)
				if len(steps)-1 == k {
					if err := unix.Kill(pid, unix.SIGKILL); err != nil {
						return steps, err
					}
				}
			}
		case sig == int(unix.SIGTRAP) && status.TrapCause() > 0, sig == int(unix.SIGSTOP): // a thread begins
			sig = 0
		}
		if err := unix.PtraceSyscall(tid, sig); err != nil && err != unix.ESRCH {
			return steps, err
		}
	}
}

// stepOf says what a thread is about to do to dir, and "" for all else.
func stepOf(tid, pid int, dir string, memory io.ReaderAt) string {
	const entry = 1
	var info syscallInfo
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if e != 0 || info.op != entry {
		return ""
	}
	descriptor := func(fd uint64) string {
		p, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(fd)))
		return p
	}
	text := func(i int) string {
		b := make([]byte, 4096)
		n, _ := memory.ReadAt(b, int64(info.args[i]))
		b, _, _ = bytes.Cut(b[:n], []byte{0})
		return string(b)
	}
	path := func(i int) string { // a folder's descriptor, and a path from there
		p := text(i + 1)
		if !filepath.IsAbs(p) {
			p = filepath.Join(descriptor(info.args[i]), p)
		}
		return p
	}
	inside := func(what string, paths ...string) string {
		for i, p := range paths {
			rel, err := filepath.Rel(dir, p)
			if err != nil || !filepath.IsLocal(rel) {
				return ""
			}
			paths[i] = rel
		}
		return what + " " + strings.Join(paths, " ")
	}
	switch info.number {
	case unix.SYS_OPENAT:
		if info.args[2]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return ""
		}
		return inside("create", path(0))
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		return inside("write", descriptor(info.args[0]))
	case unix.SYS_FTRUNCATE:
		return inside("truncate", descriptor(info.args[0]))
	case unix.SYS_FCHMOD:
		return inside("chmod", descriptor(info.args[0]))
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return inside("fsync", descriptor(info.args[0]))
	case unix.SYS_MKDIRAT:
		return inside("mkdirat", path(0))
	case unix.SYS_UNLINKAT:
		return inside("unlinkat", path(0))
	case unix.SYS_LINKAT:
		return inside("linkat", path(0), path(2))
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return inside("renameat", path(0), path(2))
	}
	return ""
}
