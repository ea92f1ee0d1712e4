package knative

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// release is a revision as gitd was asked for it: the template, with its configuration apart.
type release struct {
	name     string
	hash     string // of template and env: two releases are the same when it is
	template servingv1.RevisionTemplateSpec
	env      map[string]string
	version  int // of the app's configuration; 0 for none
}

// newRelease takes a template apart. The error says why a cluster does not take it.
func newRelease(service string, t servingv1.RevisionTemplateSpec) (*release, error) {
	r := &release{name: t.Name, template: *t.DeepCopy(), env: map[string]string{}}
	if len(t.Spec.Containers) != 1 || len(t.Spec.InitContainers) > 0 {
		return nil, errors.New("a revision has exactly one container")
	}
	c := &r.template.Spec.Containers[0]
	var err error
	if r.version, err = deploy.ConfigurationOf(&t, service); err != nil {
		return nil, err
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			return nil, fmt.Errorf("there is no valueFrom (env %s): gitd keeps the configuration", e.Name)
		}
		r.env[e.Name] = e.Value
	}
	if _, _, err := deploy.ImageReference(c.Image); err != nil {
		return nil, err
	}
	c.Env = nil
	b, err := json.Marshal(struct {
		Template servingv1.RevisionTemplateSpec
		Env      map[string]string
	}{r.template, r.env})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	r.hash = hex.EncodeToString(sum[:16])
	return r, nil
}

// original is the template as it was given to Apply, but for the order of its variables.
func (r *release) original() servingv1.RevisionTemplateSpec {
	t := *r.template.DeepCopy()
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		t.Spec.Containers[0].Env = append(t.Spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: r.env[name]})
	}
	return t
}

// labels are those of everything that belongs to the release.
func (r *release) labels(service string) map[string]string {
	return map[string]string{managedBy: manager, appLabel: service, revLabel: r.name}
}

// config is the name of the Secret that keeps the release. It has the content in it: a node that knows an immutable Secret does not look
// again, also when it was deleted and another one has its name.
func (r *release) config() string { return r.name + "-" + r.hash[:8] }

// secret keeps the release: its configuration as data, and the template in a note.
func (r *release) secret(namespace, service string) (*corev1.Secret, error) {
	b, err := json.Marshal(r.template)
	if err != nil {
		return nil, err
	}
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: r.config(), Namespace: namespace, Labels: r.labels(service),
			Annotations: map[string]string{hashNote: r.hash, templNote: string(b)}},
		Immutable: ptr.Bool(true), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
	for k, v := range r.env {
		s.Data[k] = []byte(v)
	}
	return s, nil
}

// readRelease is the release that a Secret keeps.
func readRelease(s *corev1.Secret) (*release, error) {
	r := &release{name: s.Labels[revLabel], hash: s.Annotations[hashNote], env: map[string]string{}}
	if err := json.Unmarshal([]byte(s.Annotations[templNote]), &r.template); err != nil {
		return nil, fmt.Errorf("the Secret %s holds no release: %w", s.Name, err)
	}
	for k, v := range s.Data {
		r.env[k] = string(v)
	}
	return r, nil
}

// clusterTemplate is the template as the cluster gets it: the image with its registry, the configuration by reference, and the pod locked up.
func (p *Platform) clusterTemplate(r *release, service string) (servingv1.RevisionTemplateSpec, error) {
	t := *r.template.DeepCopy()
	if t.Annotations == nil {
		t.Annotations = map[string]string{}
	}
	t.Annotations[hashNote] = r.hash
	if t.Labels == nil {
		t.Labels = map[string]string{}
	}
	maps.Copy(t.Labels, r.labels(service))
	if t.Spec.ResponseStartTimeoutSeconds == nil { // Knative would have an answer begin within 300 s, whatever the timeout; and what it adds by itself to a Service stays there for the next revision
		t.Spec.ResponseStartTimeoutSeconds = t.Spec.TimeoutSeconds
	}
	p.giveSink(&t.Spec.PodSpec, r)
	return t, p.harden(&t.Spec.PodSpec, r.environment(r.config()))
}

// sinkVariable is Knative's for where an app sends events to. A SinkBinding would set it as well, but it changes the template of a Service, whose revision has a name already.
const sinkVariable = "K_SINK"

// giveSink tells a container where it sends events to, unless the release says so itself.
func (p *Platform) giveSink(spec *corev1.PodSpec, r *release) {
	c := &spec.Containers[0]
	if p.o.Sink == nil || r.env[sinkVariable] != "" || slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == sinkVariable }) {
		return
	}
	if url := p.o.Sink(p.ctx); url != "" {
		c.Env = append(c.Env, corev1.EnvVar{Name: sinkVariable, Value: url})
	}
}

// harden completes a pod's spec: where its image and its environment come from, and what it may not do.
func (p *Platform) harden(spec *corev1.PodSpec, environment []corev1.EnvFromSource) error {
	c := &spec.Containers[0]
	if c.Name == "" {
		c.Name = container
	}
	repository, digest, err := deploy.ImageReference(c.Image)
	if err != nil {
		return err
	}
	numeric, err := p.user(c.SecurityContext, repository, digest)
	if err != nil {
		return err
	}
	if p.o.Pull != "" {
		c.Image = strings.TrimSuffix(p.o.Pull, "/") + "/" + c.Image
	}
	c.EnvFrom = environment
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	}
	s := c.SecurityContext
	s.AllowPrivilegeEscalation = ptr.Bool(false)
	s.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
	s.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	if numeric { // the kubelet cannot tell it of a name, and refuses
		s.RunAsNonRoot = ptr.Bool(true)
	}
	spec.AutomountServiceAccountToken = ptr.Bool(false)
	spec.EnableServiceLinks = ptr.Bool(false)
	if p.pulls {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: p.pullName()}}
	}
	return nil
}

// user tells whether an image's user is known by a number. One that runs as root is refused, as on one machine.
func (p *Platform) user(given *corev1.SecurityContext, repository, digest string) (numeric bool, err error) {
	if given != nil && given.RunAsUser != nil {
		if *given.RunAsUser == 0 {
			return false, errors.New("it runs as root; set a user")
		}
		return true, nil
	}
	if p.o.Images == nil {
		return false, nil
	}
	img, err := p.o.Images.Image(repository, digest)
	if err != nil {
		return false, nil //nolint:nilerr // the node says it better, when it comes to pull
	}
	f, err := img.ConfigFile()
	if err != nil {
		return false, nil //nolint:nilerr // as above
	}
	name, _, _ := strings.Cut(f.Config.User, ":")
	uid, err := strconv.ParseInt(name, 10, 64)
	if name == "" || name == "root" || err == nil && uid == 0 {
		return false, errors.New("its image runs as root; set a user in the image")
	}
	return err == nil, nil
}

// sameTraffic compares two lists of targets by what they do: a URL or a spelled-out default makes no difference.
func sameTraffic(a, b []servingv1.TrafficTarget) bool {
	return slices.EqualFunc(a, b, func(x, y servingv1.TrafficTarget) bool {
		return x.RevisionName == y.RevisionName && x.Tag == y.Tag && ptr.Int64Value(x.Percent) == ptr.Int64Value(y.Percent)
	})
}

// targets resolves spec.traffic: every target names its revision, and those that do nothing are left out.
func targets(svc *servingv1.Service) []servingv1.TrafficTarget {
	var out []servingv1.TrafficTarget
	for _, t := range svc.Spec.Traffic {
		name := t.RevisionName
		if name == "" {
			name = svc.Spec.Template.Name
		}
		if ptr.Int64Value(t.Percent) > 0 || t.Tag != "" {
			out = append(out, servingv1.TrafficTarget{RevisionName: name, Percent: ptr.Int64(ptr.Int64Value(t.Percent)), Tag: t.Tag, LatestRevision: ptr.Bool(false)})
		}
	}
	return out
}
