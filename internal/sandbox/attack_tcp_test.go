package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The attack: an app opens connections to itself and sends data that it never reads, so that it stays in the kernel's buffers. Version 1 of
// the control groups does not count these as memory of the group: without a limit of their own, 45 connections of an app with a limit of
// 256 MiB held 500 MiB, bounded only by the machine's limit for all TCP. Version 2 counts them.
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
