package deploy

import (
	"context"
	"fmt"
	"strings"

	"knative.dev/pkg/apis"
	apisconfig "knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// Complete returns a copy of svc in that namespace with Knative's defaults filled in and no status, or an *app.Error (InvalidInput) where
// Knative's validation rejects it, or its template has no name.
func Complete(ctx context.Context, svc *servingv1.Service, namespace string) (*servingv1.Service, error) {
	defaults, _ := apisconfig.NewDefaultsConfigFromMap(nil) // no input, no error
	features, _ := apisconfig.NewFeaturesConfigFromMap(nil)
	ctx = apisconfig.ToContext(ctx, &apisconfig.Config{Defaults: defaults, Features: features}) // Knative's API types require it
	svc = svc.DeepCopy()
	svc.APIVersion, svc.Kind = "serving.knative.dev/v1", "Service"
	svc.Namespace = namespace
	svc.Status = servingv1.ServiceStatus{}
	svc.SetDefaults(ctx)
	if err := svc.Validate(ctx).Filter(apis.ErrorLevel); err != nil {
		return nil, Invalid(svc.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if svc.Spec.Template.Name == "" {
		return nil, Invalid(svc.Name, "missing field(s): spec.template.metadata.name")
	}
	return svc, nil
}

// Invalid is the error for a Service that a platform rejects.
func Invalid(service, why string) error {
	return app.Errorf(app.CodeInvalidInput, "correct the Service's spec", "the Service %s is not valid: %s", service, why)
}

// ImageReference splits REPOSITORY@sha256:…, the only form in which platforms accept images.
func ImageReference(image string) (repository, digest string, err error) {
	repository, digest, ok := strings.Cut(image, "@")
	if !ok || repository == "" || !strings.HasPrefix(digest, "sha256:") {
		return "", "", fmt.Errorf("the image %q does not have the form REPOSITORY@sha256:…", image)
	}
	return repository, digest, nil
}
