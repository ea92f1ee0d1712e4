package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/kube"
)

// registryFailure tells why analysis, restoring or export failed.
func (b *running) registryFailure(f *wire.Failed) error {
	message := lifecycle.Clip(f.Message)
	cause := fmt.Errorf("%s: exit status %d: %s", f.Phase, f.Code, f.Message)
	switch f.Phase {
	case "analyze":
		return app.Wrap(cause, app.CodeUnavailable, "ask the operator: Pods must be able to reach "+b.o.Push+" and to push to it",
			"the build's Pod cannot use the registry: %s", lifecycle.Clip(kube.LastCause(f.Message)))
	case "restore":
		return app.Wrap(cause, app.CodeBuildFailed, "push again with the cache cleared; where it fails again, ask the operator to look at the server's log",
			"restore failed: what the build before left could not be read: %s", message)
	}
	return app.Wrap(cause, app.CodeExportFailed, "push again; where it fails again, look at the layers that the buildpack wrote, and at the registry",
		"export failed: the image could not be written: %s", message)
}

// failed is what a container left as its termination message.
func (b *running) failed(container string) *wire.Failed {
	p, _, _ := b.watched.get()
	s := state(p, container)
	if s == nil || s.State.Terminated == nil {
		return nil
	}
	var e wire.Event
	if json.Unmarshal([]byte(s.State.Terminated.Message), &e) != nil {
		return nil
	}
	return e.Failed
}

// died is the error of a container that ended without a message.
func (b *running) died(ctx context.Context, container, phase string) error {
	p, err := b.watched.wait(ctx, ended(container))
	if err != nil {
		return err
	}
	s := state(p, container)
	if s == nil || s.State.Terminated == nil { // the Pod is gone: the judge says why
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Second):
			return removed()
		}
	}
	t := s.State.Terminated
	if t.Reason == "OOMKilled" {
		return app.Errorf(app.CodeLimitExceeded, "ask the operator for a higher memory limit (gitd serve --build-memory)", "the build was killed at its memory limit of %s, in the %s", app.Size(b.Limits.Memory), phase)
	}
	return app.Errorf(app.CodeUnavailable, "push again; where it fails again, ask the operator to look at the builder image and the nodes",
		"the %s ended without a message (%s)", phase, strings.TrimSpace(fmt.Sprintf("%s, exit status %d %s", t.Reason, t.ExitCode, lifecycle.Clip(t.Message))))
}
