package knative

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"

	"github.com/gitd-io/gitd/internal/deploy"
)

// The values of an app's configuration are in a Secret of their own beside that of the release, which has the release's own environment: of two Secrets that
// a container's environment comes from, the later one counts.

// valuesLabel is on a Secret with the values of a configuration.
const valuesLabel = "gitd.io/configuration"

// valuesName is the name of the Secret with the values beside a Secret of a release.
func valuesName(config string) string { return config + "-values" }

// environment is where a container of the release has its environment from; config is the Secret with that of the release.
func (r *release) environment(config string) (from []corev1.EnvFromSource) {
	names := []string{config}
	if r.version > 0 {
		names = append(names, valuesName(config))
	}
	for _, name := range names {
		from = append(from, corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
	}
	return from
}

// secrets are the names of the release's Secrets.
func (r *release) secrets() []string {
	if r.version == 0 {
		return []string{r.config()}
	}
	return []string{r.config(), valuesName(r.config())}
}

// values is the Secret with the values of the release's configuration, beside the Secret config; nil where the release has none.
func (p *Platform) values(ctx context.Context, namespace, service string, r *release, config string) (*corev1.Secret, error) {
	if r.version == 0 {
		return nil, nil
	}
	if p.o.Config == nil {
		return nil, deploy.Invalid(service, "there is no configuration here")
	}
	id, err := strconv.ParseInt(r.template.Annotations[deploy.AppIDAnnotation], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the revision %s has a configuration, and names no app", r.name)
	}
	values, err := p.o.Config.Values(ctx, id, service, r.version)
	if err != nil {
		return nil, err
	}
	labels := p.labelled(r.labels(service))
	labels[valuesLabel] = "true"
	return &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: valuesName(config), Namespace: namespace, Labels: labels},
		Immutable:  ptr.Bool(true), Type: corev1.SecretTypeOpaque, Data: values}, nil
}

// saveValues creates the Secret with the values of a release's configuration, unless it is there: they need not be read then.
func (p *Platform) saveValues(ctx context.Context, namespace, service string, r *release) error {
	if r.version == 0 {
		return nil
	}
	have, err := get[corev1.Secret](ctx, p.c, secrets, namespace, valuesName(r.config()))
	if err == nil && have.Labels[valuesLabel] != "" || err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	want, err := p.values(ctx, namespace, service, r, r.config())
	if err != nil {
		return err
	}
	return p.saveSecret(ctx, want)
}
