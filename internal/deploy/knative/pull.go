package knative

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Nodes pull an app's images with a Secret in the app's namespace. What it holds reaches that app's images and gitd's own: who may read
// Secrets in one app's namespace gets no other app's source. Where all apps share a namespace there is one Secret, for all of them.

// everyApp is what PullConfig is asked for where apps share a namespace.
const everyApp = "*"

// pullName is the name of the Secret by which nodes pull what this gitd pushed.
func (p *Platform) pullName() string {
	if p.o.Instance == "" {
		return pullPrefix
	}
	return pullPrefix + "-" + p.o.Instance
}

// pullConfig is the content of the Secret for an app; nil where the registry asks for no credentials.
func (p *Platform) pullConfig(app string) ([]byte, error) {
	if p.o.PullConfig == nil {
		return nil, nil
	}
	if p.o.Namespace != "" {
		app = everyApp
	}
	return p.o.PullConfig(app)
}

// savePull writes the Secret by which nodes pull an app's images.
func (p *Platform) savePull(ctx context.Context, namespace, app string) error {
	config, err := p.pullConfig(app)
	if err != nil || config == nil {
		return err
	}
	pull := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: p.pullName(), Namespace: namespace, Labels: p.labelled(map[string]string{})},
		Type:       corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: config}}
	_, _, err = p.c.Apply(ctx, secrets, pull)
	return err
}

// renewPulls writes the Secrets of the apps that run: those of an earlier gitd may hold credentials that reach too far, or that the
// registry refuses by now.
func (p *Platform) renewPulls(ctx context.Context) error {
	if !p.pulls {
		return nil
	}
	all, err := list[servingv1.Service](ctx, p.c, services, p.o.Namespace, selector(managedBy, manager))
	if err != nil {
		return err
	}
	for i := range all {
		if p.ofAnotherGitd(&all[i]) || all[i].DeletionTimestamp != nil {
			continue
		}
		if err := p.savePull(ctx, all[i].Namespace, all[i].Name); err != nil {
			p.o.Log("deploy: the Secret %s in the namespace %s is not renewed: %v", p.pullName(), all[i].Namespace, err)
		}
		if p.o.Namespace != "" { // one for all
			return nil
		}
	}
	return nil
}
