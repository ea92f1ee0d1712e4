package local

import (
	"context"
	"fmt"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// namespace is the namespace of all Services.
const namespace = "default"

// complete returns a copy of svc with the defaults filled in, or an *app.Error when it is not valid or asks for something
// that one machine does not support.
func complete(ctx context.Context, svc *servingv1.Service) (*servingv1.Service, error) {
	svc, err := deploy.Complete(ctx, svc, namespace)
	if err != nil {
		return nil, err
	}
	if why := unsupported(&svc.Spec.Template, svc.Name); why != "" {
		return nil, deploy.Invalid(svc.Name, why)
	}
	return svc, nil
}

// unsupported says what one machine does not support of a revision that Knative would accept.
func unsupported(t *servingv1.RevisionTemplateSpec, service string) string {
	spec := &t.Spec
	if len(spec.Containers) != 1 || len(spec.InitContainers) > 0 {
		return "on one machine a revision has exactly one container"
	}
	c := spec.Containers[0]
	switch {
	case len(spec.Volumes) > 0 || len(c.VolumeMounts) > 0:
		return "on one machine there are no volumes"
	case c.ReadinessProbe != nil && (c.ReadinessProbe.Exec != nil || c.ReadinessProbe.GRPC != nil):
		return "on one machine a readiness probe is tcpSocket or httpGet"
	}
	if _, err := deploy.ConfigurationOf(t, service); err != nil {
		return err.Error()
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			return fmt.Sprintf("on one machine there is no valueFrom (env %s)", e.Name)
		}
	}
	if _, _, err := deploy.ImageReference(c.Image); err != nil {
		return err.Error()
	}
	return ""
}
