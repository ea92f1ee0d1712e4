package knative

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// Bounds of what is kept of a worker that has finished: lines, and bytes of them.
const (
	finishedLines = 1000
	finishedBytes = 64 << 10
)

// finishedLogs are the last lines of workers that have finished and have no pod any more.
type finishedLogs struct {
	mu sync.Mutex // mu guards the following

	services map[string]map[string]finishedLog // by service, then by worker
}

type finishedLog struct {
	revision string
	lines    []logLine
}

// keep replaces what is kept of a worker, and drops the logs of the Service's other releases.
func (f *finishedLogs) keep(service, worker string, l finishedLog) {
	bytes := 0
	for i := len(l.lines) - 1; i >= 0; i-- {
		if bytes += len(l.lines[i].text); bytes > finishedBytes {
			l.lines = l.lines[i+1:]
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]finishedLog{worker: l}
	for name, other := range f.services[service] {
		if name != worker && other.revision == l.revision {
			all[name] = other
		}
	}
	if f.services == nil {
		f.services = map[string]map[string]finishedLog{}
	}
	f.services[service] = all
}

// of returns the lines of a Service's workers, all or those of one revision.
func (f *finishedLogs) of(service, revision string) []logLine {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []logLine
	for _, l := range f.services[service] {
		if revision == "" || revision == l.revision {
			lines = append(lines, l.lines...)
		}
	}
	return lines
}

func (f *finishedLogs) drop(service string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.services, service)
}

// keepLog keeps the last lines of a worker whose pod is about to be taken away.
func (p *Platform) keepLog(ctx context.Context, service string, r *release, at place) error {
	all, err := p.instances(ctx, p.namespace(service), ours(service)+","+selector(revLabel, r.name)+","+procLabel+notJobs)
	if err != nil {
		return err
	}
	var own []corev1.Pod
	for _, pod := range all {
		if placeOf(pod.Labels).name() == at.name() {
			own = append(own, pod)
		}
	}
	lines, err := p.history(ctx, own, map[string]*instanceLog{}, finishedLines)
	if err != nil {
		return err
	}
	p.finished.keep(service, at.name(), finishedLog{r.name, lines})
	return nil
}
