package job

import (
	"context"
	"math"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Release runs a command of a release that is not live yet, such as its release command, as the platform's Run does.
func (m *Manager) Release(ctx context.Context, r app.Release, svc *servingv1.Service, spec deploy.RunSpec) (deploy.Exit, error) {
	if err := m.begin(); err != nil {
		return deploy.Exit{}, err
	}
	defer m.tasks.Done()
	now := m.o.Now()
	j := app.Job{App: r.App, Kind: app.JobRelease, Version: r.Version, Key: r.Key, Command: commandOf(spec), Started: now, Deadline: now.Add(DefaultTimeout), State: app.JobRunning}
	if deadline, ok := ctx.Deadline(); ok {
		j.Deadline = deadline
	}
	j.Trace = telemetry.Current(ctx).Trace()
	j, err := m.o.Store.EnterJob(ctx, app.Root, j, math.MaxInt)
	if err != nil {
		return deploy.Exit{}, err
	}
	m.began(j)
	exit, err := m.o.Platform.Run(ctx, svc, spec)
	m.ended(&j, exit, err)
	return exit, err
}
