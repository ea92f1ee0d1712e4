package release

import (
	"context"
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// rollOutOnItsPort rolls out l. An app that listens on one other port than $PORT is started a second time with its requests sent there, unless its
// project.toml sets the port.
func (d *deployment) rollOutOnItsPort(ctx context.Context, set bool, l launch) error {
	err := d.rollOut(ctx, l)
	port := 0
	var start *deploy.StartError
	if errors.As(err, &start) {
		port = start.ItsPort()
	}
	if set || port == 0 || ctx.Err() != nil {
		return err
	}
	d.log.Step("Release v%d: starting it once more, with requests to port %d", d.release.Version, port)
	d.log.Detail("the app listens on that port whatever $PORT says (%d); [io.gitd.web] port = %d in project.toml, or listening on $PORT, saves this start", start.Port, port)
	d.listenOn(l.service, port)
	return d.rollOut(ctx, l)
}

// listenOn has a release listen on a port, also when it is promoted.
func (d *deployment) listenOn(s *servingv1.Service, port int) {
	listenOn(s, port)
	if d.production != nil {
		listenOn(d.production, port)
	}
}

// listenOn sets the port of the Service's container, and notes that the app was found there.
func listenOn(s *servingv1.Service, port int) {
	s.Spec.Template.Annotations[portAnnotation] = "found"
	s.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort = int32(port)
}

// foundPort returns the port that the live release, or that of a preview's parent, was found to listen on; 0 where it listens on $PORT.
func (d *deployment) foundPort(ctx context.Context) (int, error) {
	live, err := d.live(ctx)
	if err != nil {
		return 0, err
	}
	if live != nil {
		if port := portOf(live.service); port != 0 {
			return port, nil
		}
	}
	if d.preview.Parent == "" {
		return 0, nil
	}
	_, service, err := d.m.live(ctx, d.preview.Parent)
	if app.CodeOf(err) == app.CodeNotFound {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	return portOf(service), nil
}

// portOf returns the port that a Service notes as found; 0 for none.
func portOf(s *servingv1.Service) int {
	if s.Spec.Template.Annotations[portAnnotation] == "" {
		return 0
	}
	return int(s.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort)
}
