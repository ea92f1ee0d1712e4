package job

import (
	"context"
	"fmt"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/schedule"
)

// Events is the part of event.Platform that schedules use.
type Events interface {
	Send(ctx context.Context, broker string, e event.Event, from event.Sender) (event.Receipt, error)
}

// commandIn is what a schedule does at a due time, as people write it.
func commandIn(s *schedule.Schedule) []string {
	if s.Path != "" {
		return []string{"POST", s.Path}
	}
	return s.Command
}

// sends returns the schedule of a job that sends an event; nil for one that runs a process.
func sends(svc *servingv1.Service, j app.Job) *schedule.Schedule {
	if svc == nil {
		return nil
	}
	all, _ := schedule.Of(svc.Spec.Template.Annotations) // a job that was entered was read from it
	for _, s := range all {
		if s.Name == j.Schedule && s.Path != "" {
			return &s
		}
	}
	return nil
}

// send gives the event of a due time to the broker, which knows it if it had it before. One that the broker does not take is tried again as a job is that fails.
func (m *Manager) send(j app.Job, s *schedule.Schedule) {
	if m.o.Events == nil {
		m.sent(j, 0, app.Errorf(app.CodeUnavailable, "ask the operator", "there are no brokers here"))
		return
	}
	of, err := m.o.Store.App(m.ctx, j.App)
	var r event.Receipt
	if err == nil {
		r, err = m.o.Events.Send(m.ctx, event.DefaultBroker, event.OfSchedule(j.App, s.Name, s.Data, j.Due), event.Sender{Kind: event.FromSource, Name: "schedule " + s.Name, ID: of.ID})
	}
	if m.ctx.Err() != nil { // the next process sends it
		return
	}
	m.sent(j, r.Number, err)
}

// sent writes down what became of an event: the rest is in what the broker knows of it.
func (m *Manager) sent(j app.Job, number int64, err error) {
	j.State, j.Ended = app.JobDone, m.o.Now()
	switch {
	case err != nil:
		j.State, j.Reason = app.JobFailed, app.OneLine(err)
	case number != 0:
		j.Reason = fmt.Sprintf("event e%d", number)
	}
	m.update(&j)
}
