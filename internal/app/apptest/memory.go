package apptest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Anonymous returns the memory of a process that no file backs, in bytes.
func Anonymous(t testing.TB, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatalf("/proc/%d/status has no RssAnon", pid)
	return 0
}
