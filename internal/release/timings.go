package release

import (
	"encoding/json"
	"os"
	"time"

	"github.com/gitd-io/gitd/internal/build"
)

// timings are the parts of one release, from the first byte of the push.
type timings struct {
	build.Times
	Receive, Start, Shift, Total time.Duration
}

// note appends the release's timings to the file that make bench reads.
func (m *Machine) note(w *work) {
	if m.o.Timings == "" {
		return
	}
	t := w.timings
	b, err := json.Marshal(map[string]any{
		"app": w.release.App, "version": w.release.Version,
		"receive_ms": ms(t.Receive), "checkout_ms": ms(t.Checkout), "analyze_ms": ms(t.Analyze), "detect_ms": ms(t.Detect),
		"build_ms": ms(t.Build), "export_ms": ms(t.Export), "start_ms": ms(t.Start), "shift_ms": ms(t.Shift), "total_ms": ms(t.Total),
	})
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(m.o.Timings, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			_, err = f.Write(append(b, '\n'))
			f.Close()
		}
	}
	if err != nil {
		m.o.Log("timings: %v", err)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
