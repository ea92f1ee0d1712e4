package local

import (
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// restarted is what is kept of a worker's restarts, so that the next process tells of them too.
type restarted struct {
	Log      string             `json:"log"` // of the worker: another one of that name has another log
	Restarts int                `json:"restarts"`
	EndedAt  time.Time          `json:"endedAt"`
	Reason   deploy.StartReason `json:"reason"`
	ExitCode int                `json:"exitCode,omitempty"`
	Signal   string             `json:"signal,omitempty"`
	Detail   string             `json:"detail,omitempty"`
}

func (s store) restartsFile(service, worker string) string {
	return filepath.Join(s.dir, service, "restarts", worker+".json")
}

// keepRestarts writes down how often a worker was started again, and how it ended last.
func (w *worker) keepRestarts() {
	w.mu.Lock()
	k := restarted{Log: w.log, Restarts: w.status.Restarts, EndedAt: w.status.EndedAt}
	if e := w.status.Ended; e != nil {
		k.Reason, k.ExitCode, k.Signal, k.Detail = e.Reason, e.ExitCode, e.Signal, e.Detail
	}
	w.mu.Unlock()
	p := w.revision.p
	if err := write(p.store.restartsFile(w.revision.service, w.name()), k); err != nil {
		p.opts.Log("deploy: %s: keep how often the worker %s was restarted: %v", w.revision.name, w.name(), err)
	}
}

// recallRestarts takes over what an earlier process has kept of the same worker.
func (w *worker) recallRestarts() {
	var k restarted
	if err := read(w.revision.p.store.restartsFile(w.revision.service, w.name()), &k); err != nil || k.Log != w.log {
		return
	}
	w.status.Restarts, w.status.EndedAt = k.Restarts, k.EndedAt
	if !k.EndedAt.IsZero() {
		w.status.Ended = &deploy.StartError{Reason: k.Reason, ExitCode: k.ExitCode, Signal: k.Signal, Detail: k.Detail}
	}
}
