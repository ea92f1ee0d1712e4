package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// explain turns err into an *app.Error, with what the app's owner can do.
func (r *rollout) explain(ctx context.Context, err error) error {
	var known *app.Error
	var start *StartError
	var worker *workerError
	switch {
	case errors.As(err, &worker):
		return explainWorker(err, r.green, r.plan.Log)
	case errors.As(err, &start):
		r.show(start.LogTail)
		if errors.As(start.Err, &known) && known.Code == app.CodeStartFailed { // the runtime knows what the owner can do
			return known
		}
		if start.Missing {
			return app.Wrap(err, app.CodeImageMissing, "push its commit again to build a new image",
				"the image of %s is no longer in the registry: %s", r.version(), start.Detail)
		}
		return app.Wrap(err, app.CodeStartFailed, start.next(), "%s", start.Error())
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		if errors.As(context.Cause(ctx), &known) {
			return known
		}
		return app.Wrap(context.Cause(ctx), app.CodeCancelled, "push again", "the rollout was cancelled")
	}
	return fmt.Errorf("roll out %s: %w", r.green, err)
}

// Explain turns the error of a Service that does not come up into an *app.Error, with its last lines in the log.
func Explain(err error, svc *servingv1.Service, log *app.Log) error {
	r := &rollout{plan: Plan{Service: svc, Log: log}, service: svc.Name, green: svc.Spec.Template.Name}
	return r.explain(context.Background(), err)
}

// version returns the release's own part of the revision's name: "v3" of hello-v3.
func (r *rollout) version() string {
	return strings.TrimPrefix(r.green, r.service+"-")
}
