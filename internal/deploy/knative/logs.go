package knative

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// Bounds of reading logs.
const (
	tailLines = 20      // of a container that failed
	mostLines = 100_000 // of one pod's past, the newest ones
)

// logLine is a line of an instance.
type logLine struct {
	at   time.Time
	text string
}

// instanceLog is the log of one pod: what was before its last restart, and what is.
type instanceLog struct {
	now      kube.PodLog
	prefix   string
	followed bool // a goroutine reads it
}

func (p *Platform) newInstanceLog(pod *corev1.Pod) *instanceLog {
	id := pod.Name[strings.LastIndexByte(pod.Name, '-')+1:]
	if pod.Labels[procLabel] != "" {
		id = placeOf(pod.Labels).name()
	}
	return &instanceLog{now: kube.PodLog{Client: p.c, Namespace: pod.Namespace, Pod: pod.Name, Container: container},
		prefix: fmt.Sprintf("[%s %s] ", pod.Labels[revLabel], id)}
}

func stamped(at time.Time, line string) string { return at.UTC().Format(deploy.LogTime) + " " + line }

// Logs implements deploy.Platform. A cluster keeps the log of an instance only as long as its pod; of a worker that has finished, which has
// none any more, gitd keeps the last lines until it ends itself.
func (p *Platform) Logs(ctx context.Context, service string, o deploy.LogOptions, w io.Writer) error {
	ctx = p.calling(ctx)
	return explained(ctx, p.logs(ctx, service, o, w), "read the log of "+service)
}

func (p *Platform) logs(ctx context.Context, service string, o deploy.LogOptions, w io.Writer) error {
	if err := p.mustExist(ctx, service, o.Revision); err != nil {
		return err
	}
	mine := selector(managedBy, manager, appLabel, service)
	if o.Revision != "" {
		mine += "," + selector(revLabel, o.Revision)
	}
	out := &logWriter{w: w}
	known := map[string]*instanceLog{}
	all, err := p.instances(ctx, p.namespace(service), mine)
	if err != nil {
		return err
	}
	most := mostLines
	if o.Tail > 0 {
		most = o.Tail
	}
	lines, err := p.history(ctx, all, known, most)
	if err != nil {
		return err
	}
	lines = append(lines, p.finished.of(service, o.Revision)...)
	slices.SortStableFunc(lines, func(a, b logLine) int { return a.at.Compare(b.at) })
	if o.Tail > 0 {
		lines = lines[max(0, len(lines)-o.Tail):]
	}
	for _, l := range lines {
		out.line(l.text)
	}
	if err := out.failed(); err != nil || !o.Follow {
		return err
	}
	return p.followLogs(ctx, service, mine, known, out)
}

// followLogs reads the logs of the instances that there are, and of those that come, until ctx ends or the Service is deleted.
func (p *Platform) followLogs(ctx context.Context, service, mine string, known map[string]*instanceLog, out *logWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	namespace := p.namespace(service)
	changed := p.c.Watch(ctx, kube.Interest{Resource: pods, Namespace: namespace, Selector: mine})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for {
		select {
		case <-changed:
		case <-time.After(5 * lookEvery):
		case <-ctx.Done():
			return nil
		}
		if err := out.failed(); err != nil {
			return err
		}
		all, err := p.instances(ctx, namespace, mine)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if len(all) == 0 {
			if _, err := p.find(ctx, service); err != nil {
				return nil // it was deleted
			}
		}
		present := map[string]bool{}
		for i := range all {
			pod := &all[i]
			present[pod.Name] = true
			l := known[pod.Name]
			if l == nil {
				l = p.newInstanceLog(pod)
				known[pod.Name] = l
			}
			out.read(ctx, &readers, l, cancel)
		}
		maps.DeleteFunc(known, func(name string, _ *instanceLog) bool { return !present[name] })
	}
}

// mustExist makes sure that there is something to read the log of.
func (p *Platform) mustExist(ctx context.Context, service, revision string) error {
	if live, err := p.find(ctx, service); err != nil || revision == "" || deploy.WithoutWeb(&live.Spec.Template) && live.Spec.Template.Name == revision {
		return err
	}
	there, err := p.revisions(ctx, p.namespace(service), service)
	if err == nil && there[revision] == nil {
		return notFound("revision", revision)
	}
	return err
}

// instances are the pods that have something to read: their container started.
func (p *Platform) instances(ctx context.Context, namespace, mine string) ([]corev1.Pod, error) {
	all, err := list[corev1.Pod](ctx, p.c, pods, namespace, mine)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(pod corev1.Pod) bool {
		s := stateOf(&pod)
		_, job := pod.Labels["batch.kubernetes.io/job-name"] // its log went to the caller of RunProcess
		return job || s == nil || s.State.Running == nil && s.State.Terminated == nil && s.LastTerminationState.Terminated == nil
	})
	slices.SortFunc(all, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return all, nil
}

// history reads what the instances wrote until now: at most so many lines of each, the newest ones.
func (p *Platform) history(ctx context.Context, all []corev1.Pod, known map[string]*instanceLog, most int) ([]logLine, error) {
	var lines []logLine
	for i := range all {
		l := p.newInstanceLog(&all[i])
		known[all[i].Name] = l
		var own []logLine
		read := func(from *kube.PodLog) error {
			err := from.Read(ctx, false, func(text string) {
				if own = append(own, logLine{from.Last(), stamped(from.Last(), l.prefix+text)}); len(own) >= 2*most {
					own = slices.Delete(own, 0, len(own)-most)
				}
			})
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			_ = err // the pod is gone or has not started: there is nothing more to read
			return nil
		}
		if s := stateOf(&all[i]); s != nil && s.RestartCount > 0 {
			before := l.now
			before.Previous = true
			if err := read(&before); err != nil {
				return nil, err
			}
		}
		if err := read(&l.now); err != nil {
			return nil, err
		}
		lines = append(lines, own[max(0, len(own)-most):]...)
	}
	return lines, nil
}

// logWriter writes whole lines of several instances.
type logWriter struct {
	mu sync.Mutex // mu guards the following

	w   io.Writer
	err error
}

func (o *logWriter) line(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		_, o.err = io.WriteString(o.w, app.Printable(strings.TrimSuffix(s, "\r"))+"\n")
	}
}

func (o *logWriter) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// read follows one instance until its container ends, unless it is followed already. It calls stop when the writer fails.
func (o *logWriter) read(ctx context.Context, readers *sync.WaitGroup, l *instanceLog, stop func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.followed {
		return
	}
	l.followed = true
	readers.Go(func() {
		_ = l.now.Read(ctx, true, func(text string) {
			o.line(stamped(l.now.Last(), l.prefix+text))
			if o.failed() != nil {
				stop()
			}
		})
		o.mu.Lock()
		l.followed = false // the next look begins again where this ended, if there is anything
		o.mu.Unlock()
	})
}

// copyLog writes the log of a pod's container to its end.
func (p *Platform) copyLog(ctx context.Context, namespace, pod string, w io.Writer) error {
	l := kube.PodLog{Client: p.c, Namespace: namespace, Pod: pod, Container: container}
	for {
		err := l.Read(ctx, true, func(text string) { _, _ = io.WriteString(w, text+"\n") })
		if err == nil { // a last line without an end
			return l.Read(ctx, false, func(text string) { _, _ = io.WriteString(w, text+"\n") })
		}
		if ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
		}
		if _, gone := get[corev1.Pod](ctx, p.c, pods, namespace, pod); gone != nil {
			return err
		}
	}
}

// lastWords are the last lines of the container of a pod that failed.
func (p *Platform) lastWords(ctx context.Context, pod *corev1.Pod) []string {
	s := stateOf(pod)
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	read := func(previous bool) (lines []string) {
		l := kube.PodLog{Client: p.c, Namespace: pod.Namespace, Pod: pod.Name, Container: container, Previous: previous}
		_ = l.Read(ctx, false, func(text string) {
			if lines = append(lines, app.Printable(text)); len(lines) > 2*tailLines {
				lines = slices.Delete(lines, 0, tailLines)
			}
		})
		return lines
	}
	// The one that ended is the previous one as soon as the node has started it again, which may be while its log is read.
	previous := s.State.Terminated == nil && s.RestartCount > 0
	lines := read(previous)
	if !previous {
		now, err := get[corev1.Pod](ctx, p.c, pods, pod.Namespace, pod.Name)
		if err == nil && stateOf(now) != nil && stateOf(now).RestartCount > s.RestartCount {
			if before := read(true); len(before) > 0 {
				lines = before
			}
		}
	}
	if len(lines) == 0 {
		lines = read(!previous)
	}
	return lines[max(0, len(lines)-tailLines):]
}
