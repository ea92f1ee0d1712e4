package heap

import (
	"os"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/gitd-io/gitd/internal/app/apptest"
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
	before, resident := goal(), apptest.Anonymous(t, os.Getpid())
	Roomy()
	if after := goal(); after < 2*room || after > 2*room+before+1<<20 {
		t.Errorf("the heap is collected at %d bytes, before at %d", after, before)
	}
	if now := apptest.Anonymous(t, os.Getpid()); now > resident+room/2 {
		t.Errorf("%d bytes of memory, before %d", now, resident)
	}
	unused = nil
	t.Setenv("GOGC", "100")
	if Roomy(); unused != nil {
		t.Error("GOGC does not decide")
	}
}
