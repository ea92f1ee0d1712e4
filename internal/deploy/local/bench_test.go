package local

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy/contract"
)

// BenchmarkColdStart measures the first request to an app at zero, in turns from a prepared instance and without one.
func BenchmarkColdStart(b *testing.B) {
	m := newMachine(b)
	p := m.open(b, nil)
	f := serve(b, p)
	if err := p.Apply(b.Context(), newService("idle", m.add(b, "testapp", contract.Image(b)))); err != nil {
		b.Fatal(err)
	}
	mustGet(b, f.address, "idle.localhost", "/id")
	r, err := p.find("idle", "idle-v1")
	if err != nil {
		b.Fatal(err)
	}
	var took [2][]time.Duration
	for b.Loop() {
		for i := range took {
			toZero(b, p, "idle")
			wantPrepared(b, p, 1, "at zero")
			if i == 1 {
				r.mu.Lock()
				r.usedUntil = time.Time{}
				gone := r.drop()
				r.mu.Unlock()
				<-gone
			}
			time.Sleep(100 * time.Millisecond) // what is made ahead gets made
			began := time.Now()
			if code, _, err := get(f.address, "idle.localhost", "/id"); code != http.StatusOK {
				b.Fatal(code, err)
			}
			took[i] = append(took[i], time.Since(began))
			apptest.Eventually(b, time.Minute, "it is in service", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.spare == nil && len(r.instances) == 1 })
		}
	}
	for i, name := range []string{"prepared", "unprepared"} {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][0])/1e6, name+"-min-ms")
		b.ReportMetric(float64(took[i][len(took[i])/2])/1e6, name+"-ms")
	}
	b.ReportMetric(0, "ns/op")
}
