package main

import (
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enoughFiles is how many descriptors gitd takes where it may: each is a connection, or a file of a push.
const enoughFiles = 1 << 18

// raiseFiles raises the limit on open descriptors as far as the kernel lets it, and returns the limit. It goes past the syscall package,
// which would hand the new limit down to every program that is started: some walk through all descriptors that they might have.
func raiseFiles() int {
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil {
		return 1024
	}
	want := min(enoughFiles, mostFiles())
	if want <= now.Cur {
		return int(min(now.Cur, enoughFiles))
	}
	next := unix.Rlimit{Cur: want, Max: max(want, now.Max)}
	if _, _, e := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&next)), 0, 0, 0); e != 0 {
		return int(now.Cur)
	}
	return int(want)
}

// mostFiles is what the kernel gives any process.
func mostFiles() uint64 {
	b, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return 1 << 20
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 1 << 20
	}
	return n
}
