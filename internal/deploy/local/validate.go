package local

import (
	"context"
	"fmt"
	"strings"

	"knative.dev/pkg/apis"
	apisconfig "knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// namespace is the one that all Services are in.
const namespace = "default"

// knativeContext carries Knative's default configuration, without which its API types do not work.
func knativeContext(ctx context.Context) context.Context {
	defaults, _ := apisconfig.NewDefaultsConfigFromMap(nil) // no input, no error
	features, _ := apisconfig.NewFeaturesConfigFromMap(nil)
	return apisconfig.ToContext(ctx, &apisconfig.Config{Defaults: defaults, Features: features})
}

// complete returns a copy of svc with the defaults filled in, or an *app.Error when it is not valid or asks for something
// that one machine does not do.
func complete(ctx context.Context, svc *servingv1.Service) (*servingv1.Service, error) {
	ctx = knativeContext(ctx)
	svc = svc.DeepCopy()
	svc.APIVersion, svc.Kind = "serving.knative.dev/v1", "Service"
	svc.Namespace = namespace
	svc.Status = servingv1.ServiceStatus{}
	svc.SetDefaults(ctx)
	if err := svc.Validate(ctx).Filter(apis.ErrorLevel); err != nil {
		return nil, invalid(svc.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if svc.Spec.Template.Name == "" {
		return nil, invalid(svc.Name, "missing field(s): spec.template.metadata.name")
	}
	if why := unsupported(&svc.Spec.Template.Spec); why != "" {
		return nil, invalid(svc.Name, why)
	}
	return svc, nil
}

func invalid(service, why string) error {
	return app.Errorf(app.InvalidInput, "correct the Service's spec", "the Service %s is not valid: %s", service, why)
}

// unsupported says what one machine cannot do for a revision that Knative would take.
func unsupported(spec *servingv1.RevisionSpec) string {
	if len(spec.Containers) != 1 || len(spec.InitContainers) > 0 {
		return "on one machine a revision has exactly one container"
	}
	c := spec.Containers[0]
	switch {
	case len(spec.Volumes) > 0 || len(c.VolumeMounts) > 0:
		return "on one machine there are no volumes"
	case len(c.EnvFrom) > 0:
		return "on one machine there is no envFrom"
	case c.ReadinessProbe != nil && (c.ReadinessProbe.Exec != nil || c.ReadinessProbe.GRPC != nil):
		return "on one machine a readiness probe is tcpSocket or httpGet"
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			return fmt.Sprintf("on one machine there is no valueFrom (env %s)", e.Name)
		}
	}
	if _, _, err := imageReference(c.Image); err != nil {
		return err.Error()
	}
	return ""
}

// imageReference splits REPOSITORY@sha256:….
func imageReference(image string) (repository, digest string, err error) {
	repository, digest, ok := strings.Cut(image, "@")
	if !ok || repository == "" || !strings.HasPrefix(digest, "sha256:") {
		return "", "", fmt.Errorf("the image %q is not given as REPOSITORY@sha256:…", image)
	}
	return repository, digest, nil
}
