package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An app opens connections to itself and sends what it never reads: the data lies in the kernel's buffers. With version 1 of the control
// groups these are not among the memory of a group; without a limit of their own, 45 connections of an app with 256 MiB held 500, and the
// machine's share for all TCP was the only end. With version 2 they count as memory.
func TestAttack_TCPBuffers(t *testing.T) {
	h := openHost(t)
	if h.cgroups.unified || !slices.ContainsFunc(h.cgroups.roots, func(r string) bool { return has(r, tcpLimit) }) {
		t.Log("the kernel counts them as memory, or not at all")
		return
	}
	c := start(t, h, Spec{ID: "buffers", Args: []string{"/probe", "sleep"}, Memory: 64 << 20})
	found := false
	for _, d := range h.cgroups.dirs(c.ID) {
		if b, err := os.ReadFile(filepath.Join(d, tcpLimit)); err == nil {
			found = true
			if got := strings.TrimSpace(string(b)); got != "67108864" {
				t.Errorf("%s: the limit is %s", d, got)
			}
		}
	}
	if !found {
		t.Error("the container is in no group with memory")
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}
