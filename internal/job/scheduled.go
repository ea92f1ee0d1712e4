package job

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/schedule"
)

// Scheduled is a schedule of what is live.
type Scheduled struct {
	schedule.Schedule
	Next time.Time // when it is due next
	Last *app.Job  // of it; nil for none
}

// Scheduled returns the schedules of what is live of an app.
func (m *Manager) Scheduled(ctx context.Context, name string) ([]Scheduled, error) {
	_, svc, err := m.release(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	all, err := schedule.Of(svc.Spec.Template.Annotations)
	if err != nil {
		return nil, err
	}
	var list []Scheduled
	for _, s := range all {
		t, err := s.Times()
		if err != nil {
			return nil, err
		}
		one := Scheduled{Schedule: s, Next: t.Next(m.o.Now())}
		last, err := m.o.Store.JobsDue(ctx, name, s.Name, 1)
		if err != nil {
			return nil, err
		}
		if len(last) > 0 {
			one.Last = &last[0]
		}
		list = append(list, one)
	}
	return list, nil
}
