package heap

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
)

// TestRoomy: the next collection is farther away, and the memory that nothing is in is not taken.
func TestRoomy(t *testing.T) {
	t.Setenv("GOGC", "")
	goal := func() uint64 {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before, resident := goal(), anonymous(t)
	Roomy()
	if after := goal(); after < 2*room || after > 2*room+before+1<<20 {
		t.Errorf("the heap is collected at %d bytes, before at %d", after, before)
	}
	if now := anonymous(t); now > resident+room/2 {
		t.Errorf("%d bytes of memory, before %d", now, resident)
	}
	unused = nil
	t.Setenv("GOGC", "100")
	if Roomy(); unused != nil {
		t.Error("GOGC does not decide")
	}
}

func anonymous(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no RssAnon")
	return 0
}
