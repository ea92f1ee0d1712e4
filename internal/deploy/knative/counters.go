package knative

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Counters implements deploy.Platform.
func (p *Platform) Counters(context.Context, string) (map[string]deploy.Counters, error) {
	return nil, app.Errorf(app.CodeInvalidInput, "push with -o steps=10,50 or -o at-once", "a canary is not possible on a cluster yet")
}
