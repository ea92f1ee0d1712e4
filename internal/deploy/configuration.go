package deploy

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Configuration has the values of apps' configuration. A Service names a version (SetConfiguration); a platform asks for the values when it needs them.
// Where a variable is in the template's own environment as well, the configuration's value counts.
type Configuration interface {
	// Values returns the variables of one version of an app's configuration. The error is an *app.Error where they cannot be read.
	Values(ctx context.Context, appID int64, app string, version int) (map[string][]byte, error)
}

// configurationInfix is between the app's name and the version in the name of a configuration: "hello-config-3".
const configurationInfix = "-config-"

// SetConfiguration has a template take its environment from a version of the app's configuration; 0 for none.
func SetConfiguration(t *servingv1.RevisionTemplateSpec, app string, version int) {
	c := &t.Spec.Containers[0]
	c.EnvFrom = nil
	if version > 0 {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{
			Name: app + configurationInfix + strconv.Itoa(version)}}}}
	}
}

// ConfigurationOf returns the version of the app's configuration that a template takes its environment from; 0 for none. It fails where the template takes
// it from anything else.
func ConfigurationOf(t *servingv1.RevisionTemplateSpec, app string) (version int, err error) {
	if len(t.Spec.Containers) != 1 || len(t.Spec.Containers[0].EnvFrom) == 0 {
		return 0, nil
	}
	from := t.Spec.Containers[0].EnvFrom
	if len(from) != 1 || from[0].SecretRef == nil || from[0].ConfigMapRef != nil || from[0].Prefix != "" {
		return 0, fmt.Errorf("its envFrom is not one secretRef")
	}
	name := from[0].SecretRef.Name
	number, ok := strings.CutPrefix(name, app+configurationInfix)
	if version, err = strconv.Atoi(number); !ok || err != nil || version < 1 {
		return 0, fmt.Errorf("its envFrom names %q, which is no configuration of %s", name, app)
	}
	return version, nil
}
