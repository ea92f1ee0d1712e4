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

// WorkersAnnotation of a template has the process types that run beside web, separated by commas.
const WorkersAnnotation = "gitd.io/workers"

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

// WithoutWeb reports whether a template runs workers alone.
func WithoutWeb(t *servingv1.RevisionTemplateSpec) bool {
	return t.Annotations[webAnnotation] == webNone
}

// Workers returns the process types that run beside web, or without one, as recorded in a Service.
func Workers(s *servingv1.Service) []string {
	if list := s.Spec.Template.Annotations[WorkersAnnotation]; list != "" {
		return strings.Split(list, ",")
	}
	return nil
}

// WorkerStatus is the worker of one process type.
type WorkerStatus struct {
	Type     string
	Since    time.Time   // when it was started last; zero while it does not run
	Ended    *StartError // how it ended last; nil where it has not
	EndedAt  time.Time
	Finished bool // it ended with status 0 right after its start, and is not started again
}

// FinishesWithin is how soon after its first start a worker must end with status 0 to be taken for one that has done its work. It is not
// started again before the next release.
const FinishesWithin = 10 * time.Second

// Bounds of a rollout without web.
const (
	workerSettles = 3 * time.Second // a worker that has been up for so long is up
	workerLimit   = time.Minute     // until all are
	workerPause   = 100 * time.Millisecond
)

// runWorkers starts the workers of a Service without web in place of those before, and waits until each is up, or has finished.
func (r *rollout) runWorkers(ctx context.Context) error {
	types := Workers(r.plan.Service)
	if len(types) == 0 {
		return app.Errorf(app.CodeStartFailed, "add a line such as \"web: ./server\" or \"worker: ./worker\" to a Procfile at the root of the app", "%s has no process that could run", r.green)
	}
	if err := r.SetWorkers(ctx, r.plan.Service, types); err != nil {
		return err
	}
	limit := time.Now().Add(workerLimit)
	for {
		all, err := r.Workers(ctx, r.service)
		if err != nil {
			return err
		}
		waiting := slices.Clone(types)
		for _, w := range all {
			if w.Ended != nil && !w.Finished && w.EndedAt.After(r.began) {
				return &workerError{w.Type, w.Ended}
			}
			if w.Finished || !w.Since.IsZero() && time.Since(w.Since) >= workerSettles {
				waiting = slices.DeleteFunc(waiting, func(t string) bool { return t == w.Type })
			}
		}
		if len(waiting) == 0 {
			r.told(all)
			return nil
		}
		if time.Now().After(limit) {
			return app.Errorf(app.CodeStartFailed, "see the app's log: logs "+r.service, "the worker %s was not up within %s", waiting[0], workerLimit)
		}
		select {
		case <-time.After(workerPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// told says which workers run, and which have finished.
func (r *rollout) told(all []WorkerStatus) {
	r.healthy = time.Since(r.began)
	for _, w := range all {
		if w.Finished {
			r.plan.Log.Detail("%s: ended with status 0, and is not started again before the next release", w.Type)
		} else {
			r.plan.Log.Detail("%s: up for %s", w.Type, app.Elapsed(time.Since(w.Since)))
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

// explainWorker is the error for people, after the last lines of the worker's output.
func (r *rollout) explainWorker(err error) error {
	var w *workerError
	if !errors.As(err, &w) {
		return nil
	}
	r.show(w.ended.LogTail)
	return app.Wrap(err, app.CodeStartFailed, w.ended.next(), "%s", w.Error())
}
