package knative

import (
	"context"
	"fmt"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// StartRun implements deploy.Platform.
func (p *Platform) StartRun(context.Context, *servingv1.Service, deploy.RunSpec) error {
	return app.Errorf(app.CodeUnavailable, "run it attached", "detached runs are not there on a cluster yet")
}

// WaitRun implements deploy.Platform.
func (p *Platform) WaitRun(_ context.Context, _, name string) (deploy.Exit, error) {
	return deploy.Exit{}, fmt.Errorf("run %s: %w", name, deploy.ErrNotFound)
}

// StopRun implements deploy.Platform.
func (p *Platform) StopRun(_ context.Context, _, name string, _ time.Duration) error {
	return fmt.Errorf("run %s: %w", name, deploy.ErrNotFound)
}

// RemoveRun implements deploy.Platform.
func (p *Platform) RemoveRun(_ context.Context, _, name string) error {
	return fmt.Errorf("run %s: %w", name, deploy.ErrNotFound)
}
