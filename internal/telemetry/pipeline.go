package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// The names of what spans say, by OpenTelemetry's semantic conventions for CI/CD, and gitd's own.
const (
	KeyApp        = "gitd.app"
	KeyRelease    = "gitd.release.version"
	KeyKind       = "gitd.release.kind"
	KeyState      = "gitd.release.state"
	KeyRevision   = "gitd.revision"
	KeyImage      = "oci.manifest.digest"
	KeyRef        = "vcs.ref.head.name"
	KeyRefType    = "vcs.ref.type"
	KeyCommit     = "vcs.ref.head.revision"
	KeyRepository = "vcs.repository.name"
	KeyDeployment = "deployment.name"
	KeyBytes      = "gitd.pack.bytes"
	KeyObjects    = "gitd.pack.objects"
	KeyJob        = "gitd.job.number"
	KeySchedule   = "gitd.schedule"
	KeyExit       = "process.exit.code"

	keyPipeline   = "cicd.pipeline.name"
	keyAction     = "cicd.pipeline.action.name"
	keyRunID      = "cicd.pipeline.run.id"
	keyResult     = "cicd.pipeline.result"
	keyTask       = "cicd.pipeline.task.name"
	keyTaskType   = "cicd.pipeline.task.type"
	keyTaskRun    = "cicd.pipeline.task.run.id"
	keyTaskResult = "cicd.pipeline.task.run.result"
)

// The types of tasks.
const (
	TaskBuild  = "build"
	TaskTest   = "test"
	TaskDeploy = "deploy"
)

// StartRun begins the trace of what was asked for with an app, or joins that of parent: a run of a pipeline.
func (t *Tracer) StartRun(ctx context.Context, parent Parent, name string, began time.Time, attributes ...Attribute) (context.Context, *Span) {
	ctx, s := t.Start(ctx, parent, KindServer, "RUN "+name, began, Attribute{keyPipeline, name}, Attribute{keyAction, "RUN"}, Attribute{KeyApp, name})
	s.Set(Attribute{keyRunID, s.spanID()})
	s.Set(attributes...)
	return ctx, s
}

// EndRun ends a run of a pipeline: nil is its success, and so is a dry run that went well.
func (s *Span) EndRun(err error) {
	s.Set(Attribute{keyResult, resultOf(err)})
	s.End(failure(err))
}

// StartTask begins a task of the run in the context; kind may be "".
func StartTask(ctx context.Context, name, kind string, attributes ...Attribute) (context.Context, *Span) {
	ctx, s := Start(ctx, name, attributes...)
	if ctx == nil || s == nil {
		return ctx, nil
	}
	s.task(name, kind)
	return ctx, s
}

func (s *Span) task(name, kind string) {
	s.Set(Attribute{keyTask, name}, Attribute{keyTaskType, kind}, Attribute{keyTaskRun, s.spanID()})
}

// EndTask ends a task.
func (s *Span) EndTask(err error) { s.EndTaskAt(time.Now(), err) }

// EndTaskAt is EndTask at another time.
func (s *Span) EndTaskAt(at time.Time, err error) {
	s.Set(Attribute{keyTaskResult, resultOf(err)})
	s.EndAt(at, failure(err))
}

// Task tells of a task of the run in the context that has ended.
func Task(ctx context.Context, name, kind string, began time.Time, err error, attributes ...Attribute) {
	s := Current(ctx).Child(NewSpanID(), name, began)
	s.task(name, kind)
	s.Set(attributes...)
	s.EndTask(err)
}

func (s *Span) spanID() string {
	if s == nil {
		return ""
	}
	return s.id.String()
}

// resultOf is what the conventions call the end of a run or a task.
func resultOf(err error) string {
	switch app.CodeOf(err) {
	case "", app.CodeDryRun:
		return "success"
	case app.CodeCancelled, app.CodeSuperseded:
		return "cancellation"
	case app.CodeInternal, app.CodeUnavailable:
		if errors.Is(err, context.Canceled) {
			return "cancellation"
		}
		return "error"
	}
	return "failure"
}

// failure is err where it is one: not a cancellation, and not the end of a dry run.
func failure(err error) error {
	if r := resultOf(err); r == "failure" || r == "error" {
		return err
	}
	return nil
}

// EndRunAs ends a run of a pipeline at a time, with a result by the conventions; state is what it is called where that is no success and no cancellation.
func (s *Span) EndRunAs(at time.Time, result, state string) {
	if !s.Sent() {
		return
	}
	s.Set(Attribute{keyResult, result})
	if result != "success" && result != "cancellation" {
		s.Set(Attribute{"error.type", state})
		s.mu.Lock()
		s.failed, s.message = true, state
		s.mu.Unlock()
	}
	s.EndAt(at, nil)
}
