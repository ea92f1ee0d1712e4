package job

import (
	"context"
	"log/slog"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// newTrace returns the ID of a trace for a job; "" where nothing is traced. The job keeps it: it may outlive this process.
func (m *Manager) newTrace() string {
	if m.o.Tracer == nil {
		return ""
	}
	return telemetry.NewTraceID().String()
}

// logged is what a line of the server's log about a job has besides its message.
func logged(j app.Job) slog.Attr { return slog.String(telemetry.LogTrace, j.Trace) }

// knows has the metrics of a schedule begin at 0.
func (m *Manager) knows(name, schedule string) {
	for _, result := range []string{"started", "missed", "done", "failed"} {
		m.o.Metrics.Schedules.Add(0, name, schedule, result)
	}
}

// began counts a job that runs from now on.
func (m *Manager) began(j app.Job) {
	m.o.Metrics.Started.Inc(j.App, string(j.Kind))
	if j.Schedule != "" {
		m.o.Metrics.Schedules.Inc(j.App, j.Schedule, "started")
	}
}

// tell counts a job that has ended, and sends its trace. That of a command of a release is a part of the release's.
func (m *Manager) tell(j *app.Job) {
	took := j.Ended.Sub(j.Started)
	m.o.Metrics.Ended.Inc(j.App, string(j.Kind), string(j.State))
	m.o.Metrics.Duration.Observe(took, string(j.Kind))
	if j.Schedule != "" && (j.State == app.JobDone || j.State == app.JobFailed || j.State == app.JobTimedOut) {
		result := "failed"
		if j.State == app.JobDone {
			result = "done"
		}
		m.o.Metrics.Schedules.Inc(j.App, j.Schedule, result)
	}
	trace, ok := telemetry.ParseTraceID(j.Trace)
	if !ok || j.Kind == app.JobRelease {
		return
	}
	// Nothing of the command: there may be a secret among its arguments.
	_, span := m.o.Tracer.StartRun(context.Background(), telemetry.Parent{Trace: trace, Sampled: true}, j.App, j.Started,
		telemetry.Attribute{Key: telemetry.KeyJob, Value: j.Number}, telemetry.Attribute{Key: "gitd.job.kind", Value: string(j.Kind)},
		telemetry.Attribute{Key: "gitd.job.state", Value: string(j.State)}, telemetry.Attribute{Key: telemetry.KeySchedule, Value: j.Schedule},
		telemetry.Attribute{Key: telemetry.KeyRelease, Value: j.Version}, telemetry.Attribute{Key: telemetry.KeyExit, Value: j.Status})
	result := map[app.JobState]string{app.JobDone: "success", app.JobFailed: "failure", app.JobTimedOut: "timeout", app.JobLost: "error"}[j.State]
	if result == "" {
		result = "cancellation"
	}
	span.EndRunAs(j.Ended, result, string(j.State))
}
