package main

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The limit on descriptors is raised for gitd alone: what it starts keeps the one that it was started with.
func TestRaiseFiles(t *testing.T) {
	limit := func() int {
		out, err := exec.Command("sh", "-c", "ulimit -Sn").Output()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := limit()
	got := raiseFiles()
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	if uint64(got) > now.Cur || got < before {
		t.Errorf("%d is said, %d is so, %d was before", got, now.Cur, before)
	}
	if after := limit(); after != before {
		t.Errorf("a program that is started has %d descriptors, and had %d before", after, before)
	}
}
