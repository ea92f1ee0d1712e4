package release

import (
	"encoding/json"
	"os"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
)

// timings are the parts of one release, from the first byte of the push.
type timings struct {
	build.Times
	Receive, Queue, Start, Shift, Total time.Duration
}

// parts are the timings that are known, in the order in which the parts happen, as the ledger keeps them.
func (t timings) parts() []app.Time {
	var all []app.Time
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"receive", t.Receive}, {"queue", t.Queue}, {"wait", t.Wait}, {"analyze", t.Analyze}, {"detect", t.Detect}, {"build", t.Build}, {"export", t.Export}, {"start", t.Start}, {"shift", t.Shift}} {
		if p.took > 0 {
			all = append(all, app.Time{Part: p.name, Milliseconds: p.took.Milliseconds()})
		}
	}
	return all
}

// Timing is one line of Options.Timings: the parts of a release, in milliseconds. Checkout runs in parallel with Wait and Analyze.
type Timing struct {
	App      string  `json:"app"`
	Version  int     `json:"version"`
	Receive  float64 `json:"receive_ms"`
	Queue    float64 `json:"queue_ms"` // for other builds
	Checkout float64 `json:"checkout_ms"`
	Wait     float64 `json:"wait_ms"` // for the cluster: to start the build's containers, and to say what they did
	Analyze  float64 `json:"analyze_ms"`
	Detect   float64 `json:"detect_ms"`
	Build    float64 `json:"build_ms"`
	Export   float64 `json:"export_ms"`
	Start    float64 `json:"start_ms"`
	Shift    float64 `json:"shift_ms"`
	Total    float64 `json:"total_ms"`
}

// maxTimings is the size in bytes at which the file starts over: it is for looking at what has just happened.
const maxTimings = 1 << 20

// note appends the deployment's timings to the file that make bench reads.
func (d *deployment) note() {
	file := d.m.o.Timings
	if file == "" {
		return
	}
	t := d.timings
	b, err := json.Marshal(Timing{App: d.release.App, Version: d.release.Version, Receive: ms(t.Receive), Queue: ms(t.Queue), Checkout: ms(t.Checkout), Wait: ms(t.Wait), Analyze: ms(t.Analyze),
		Detect: ms(t.Detect), Build: ms(t.Build), Export: ms(t.Export), Start: ms(t.Start), Shift: ms(t.Shift), Total: ms(t.Total)})
	if err == nil {
		var f *os.File
		flags := os.O_CREATE | os.O_APPEND | os.O_WRONLY
		if info, err := os.Stat(file); err == nil && info.Size() >= maxTimings {
			flags |= os.O_TRUNC
		}
		if f, err = os.OpenFile(file, flags, 0o600); err == nil {
			_, err = f.Write(append(b, '\n'))
			f.Close()
		}
	}
	if err != nil {
		d.m.o.Log("timings: %v", err)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
