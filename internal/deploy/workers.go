package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// webAnnotation of a template says whether a process takes requests: webNone for none.
const (
	webAnnotation = "gitd.io/web"
	webNone       = "none"
)

// SetWithoutWeb marks a Service whose template runs workers alone. A platform starts no instance of it that takes requests, needs no traffic
// for it, and answers requests to its name with 404.
func SetWithoutWeb(s *servingv1.Service) {
	if s.Spec.Template.Annotations == nil {
		s.Spec.Template.Annotations = map[string]string{}
	}
	s.Spec.Template.Annotations[webAnnotation] = webNone
}

// SetWithWeb takes the mark of SetWithoutWeb back.
func SetWithWeb(s *servingv1.Service) { delete(s.Spec.Template.Annotations, webAnnotation) }

// WithoutWeb reports whether a template runs workers alone.
func WithoutWeb(t *servingv1.RevisionTemplateSpec) bool {
	return t.Annotations[webAnnotation] == webNone
}

// Bounds of a rollout without web.
const (
	workerSettles = 3 * time.Second // a worker that has been up for so long is up
	workerLimit   = time.Minute     // until all are
	workerPause   = 100 * time.Millisecond
)

// runWorkers starts the workers of a Service without web in place of those before, and waits until each is up, or has finished.
func (r *rollout) runWorkers(ctx context.Context) error {
	workers := Workers(r.plan.Service)
	if len(workers) == 0 {
		return app.Errorf(app.CodeStartFailed, "add a line such as \"web: ./server\" or \"worker: ./worker\" to a Procfile at the root of the app", "%s has no process that could run", r.green)
	}
	all, err := runWorkers(ctx, r.Platform, r.plan.Service, workers)
	if err == nil {
		r.healthy = time.Since(r.began)
		tell(all, r.plan.Log)
	}
	return err
}

// runWorkers sets the workers of a Service, and waits until each instance of these is up, or has finished. It returns them, as people
// name them.
func runWorkers(ctx context.Context, p Platform, svc *servingv1.Service, watch []Worker) ([]Instance, error) {
	began := time.Now()
	if err := p.SetWorkers(ctx, svc, Workers(svc)); err != nil {
		return nil, err
	}
	var names []string
	for _, w := range watch {
		for n := range w.Instances {
			names = append(names, InstanceName(w.Type, int(n)+1))
		}
	}
	seen := map[string]time.Time{} // since when an instance has been seen up: a busy node tells late that it has started, and as late that it has ended
	for limit := began.Add(workerLimit); ; {
		all, err := p.Instances(ctx, svc.Name, false)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(in Instance) bool {
			return in.Revision != svc.Spec.Template.Name || !slices.Contains(names, in.Name)
		})
		waiting := slices.Clone(names)
		for _, w := range all {
			if w.Ended != nil && w.State != InstanceFinished && w.EndedAt.After(began) {
				return nil, &workerError{label(w, watch), w.Ended}
			}
			if seen[w.Name].IsZero() && !w.Since.IsZero() {
				seen[w.Name] = time.Now()
			}
			if w.State == InstanceFinished || !w.Since.IsZero() && min(time.Since(w.Since), time.Since(seen[w.Name])) >= workerSettles {
				waiting = slices.DeleteFunc(waiting, func(n string) bool { return n == w.Name })
			}
		}
		if len(waiting) == 0 {
			for i := range all {
				all[i].Name = label(all[i], watch)
			}
			return all, nil
		}
		if time.Now().After(limit) {
			return nil, app.Errorf(app.CodeStartFailed, "see the app's log: logs "+svc.Name, "the worker %s was not up within %s", waiting[0], workerLimit)
		}
		select {
		case <-time.After(workerPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// label names an instance for people: by its type alone where there is one.
func label(in Instance, of []Worker) string {
	if slices.ContainsFunc(of, func(w Worker) bool { return w.Type == in.Type && w.Instances == 1 }) {
		return in.Type
	}
	return in.Name
}

// ScaleWorkers gives the workers of a Service, whose revision runs, another number of instances, and waits until those that are new are up.
// Where they do not come up, the number is as before again, and the error is an *app.Error.
func ScaleWorkers(ctx context.Context, p Platform, before, svc *servingv1.Service, log *app.Log) error {
	had := map[string]int64{}
	for _, w := range Workers(before) {
		had[w.Type] = w.Instances
	}
	grown := slices.DeleteFunc(Workers(svc), func(w Worker) bool { return w.Instances <= had[w.Type] })
	all, err := runWorkers(ctx, p, svc, grown)
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
		defer cancel()
		if e := p.SetWorkers(undo, before, Workers(before)); e != nil {
			log.Error("could not fully restore the previous state: %v", e)
		}
		return explainWorker(err, svc.Spec.Template.Name, log)
	}
	tell(all, log)
	return nil
}

// tell says which workers run, and which have finished.
func tell(all []Instance, log *app.Log) {
	for _, w := range all {
		if w.State == InstanceFinished {
			log.Detail("%s: ended with status 0, and is not started again before the next release", w.Name)
		} else {
			log.Detail("%s: up for %s", w.Name, app.Elapsed(time.Since(w.Since)))
		}
	}
}

// workerError is why a release without web does not go live.
type workerError struct {
	process string
	ended   *StartError
}

func (e *workerError) Error() string {
	switch {
	case e.ended.Reason == Exited && e.ended.Signal != "":
		return fmt.Sprintf("the worker %s was terminated by a signal (%s)", e.process, e.ended.Signal)
	case e.ended.Reason == Exited:
		return fmt.Sprintf("the worker %s exited with status %d", e.process, e.ended.ExitCode)
	}
	return fmt.Sprintf("the worker %s: %s", e.process, strings.TrimPrefix(e.ended.Error(), "the app "))
}

func (e *workerError) Unwrap() error { return e.ended }

// explainWorker is the error for people, after the last lines of the worker's output. Another error is as it is.
func explainWorker(err error, revision string, log *app.Log) error {
	var w *workerError
	if !errors.As(err, &w) {
		return err
	}
	showLines(log, revision, w.ended.LogTail)
	return app.Wrap(err, app.CodeStartFailed, w.ended.next(), "%s", w.Error())
}
