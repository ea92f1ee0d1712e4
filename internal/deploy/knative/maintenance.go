package knative

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// SetMaintenance implements deploy.Platform.
func (p *Platform) SetMaintenance(_ context.Context, _ string, m *deploy.Maintenance) error {
	if m == nil {
		return nil
	}
	return app.Errorf(app.CodeInvalidInput, "have the app itself answer so", "maintenance is not possible on a cluster: its ingress has no page of its own, and holds no requests")
}

// Maintenance implements deploy.Platform.
func (p *Platform) Maintenance(context.Context, string) (*deploy.Maintenance, error) { return nil, nil }
