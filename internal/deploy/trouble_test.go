package deploy

import (
	"testing"
	"time"
)

func TestTrouble(t *testing.T) {
	now := time.Now()
	oom, exited := &StartError{Reason: OutOfMemory}, &StartError{Reason: Exited, ExitCode: 1}
	up := Instance{Type: "web", State: InstanceUp}
	for _, tt := range []struct {
		name string
		in   Instance
		want string
	}{
		{"Up", up, ""},
		{"Waits", Instance{Type: "worker", State: InstanceRestarting, Restarts: 1, Ended: oom, EndedAt: now}, "worker: out of memory"},
		{"UpAgain", Instance{Type: "worker", State: InstanceUp, Restarts: 3, Ended: exited, EndedAt: now.Add(-20 * time.Second)}, "worker: crashes"},
		{"Once", Instance{Type: "worker", State: InstanceUp, Restarts: 1, Ended: exited, EndedAt: now}, ""},
		{"LongAgo", Instance{Type: "web", State: InstanceUp, Restarts: 5, Ended: exited, EndedAt: now.Add(-time.Hour)}, ""},
		{"NotThere", Instance{Type: "worker", State: InstanceRestarting, Ended: &StartError{Reason: RuntimeError}}, "worker: does not start"},
	} {
		if got := Trouble([]Instance{up, tt.in}, now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
