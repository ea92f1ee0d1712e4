package release

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// predeploy runs the command of app.json that comes before the release command: when it fails, nothing goes live.
func (d *deployment) predeploy(ctx context.Context, service *servingv1.Service, s project.Scripts) error {
	if s.Predeploy == "" {
		return nil
	}
	if err := d.to(ctx, store.Event{State: app.StateReleasing}); err != nil {
		return err
	}
	return d.runCommand(ctx, service, byShell(s.Predeploy), "scripts.dokku.predeploy of app.json")
}

// postdeploy runs the commands of app.json that come when the release is live, which it stays if they fail. first says that nothing was live before.
func (d *deployment) postdeploy(ctx context.Context, service *servingv1.Service, s project.Scripts, first bool) {
	for _, c := range []struct {
		command, name string
		now           bool
	}{{s.First, "scripts.postdeploy of app.json, once", first}, {s.Postdeploy, "scripts.dokku.postdeploy of app.json", true}} {
		if c.command == "" || !c.now || ctx.Err() != nil {
			continue
		}
		if err := d.runCommand(ctx, service, byShell(c.command), c.name); err != nil {
			message, next := app.Explain(err)
			d.log.Error("the app is live, but %s", message)
			d.log.Detail("%s", next)
		}
	}
}

// byShell is a command as Heroku and Dokku run it.
func byShell(command string) deploy.RunSpec {
	return deploy.RunSpec{Args: []string{"bash", "-c", command}}
}
