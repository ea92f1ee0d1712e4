package knative

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// jobTTL is how long Kubernetes keeps a finished Job that gitd could not delete.
const jobTTL = 10 * time.Minute

// lastOutput bounds the wait for what an ended process wrote.
const lastOutput = 10 * time.Second

// Run implements deploy.Platform: a Job with one pod, which is not retried, and is deleted when it has ended.
func (p *Platform) Run(ctx context.Context, svc *servingv1.Service, s deploy.RunSpec) (deploy.Exit, error) {
	if err := s.Check(); err != nil {
		return deploy.Exit{}, err
	}
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return deploy.Exit{}, err
	}
	ctx = p.calling(ctx)
	e, err := p.run(ctx, svc.Name, r, s)
	return e, explained(ctx, err, "run "+cmp.Or(s.Process, "a command")+" of "+r.name)
}

func (p *Platform) run(ctx context.Context, service string, r *release, s deploy.RunSpec) (deploy.Exit, error) {
	namespace := p.namespace(service)
	if err := p.ensureNamespace(ctx, namespace); err != nil {
		return deploy.Exit{}, err
	}
	name := objectName(r.name+"."+cmp.Or(s.Process, "run"), 52) + "-" + strings.ToLower(rand.Text()[:5])
	job, env, err := p.jobOf(ctx, service, r, s, name)
	if err != nil {
		return deploy.Exit{}, err
	}
	var a *attachment
	if s.Stdin != nil || s.Terminal != nil {
		a = &attachment{p: p, s: s}
		if err := a.prepare(ctx, &job.Spec.Template.Spec); err != nil {
			return deploy.Exit{}, err
		}
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		p.removeJob(ctx, namespace, name)
	}()
	if err := p.createJob(ctx, service, job, env); err != nil {
		return deploy.Exit{}, err
	}
	if a == nil {
		return p.follow(ctx, namespace, name, r, p.logTo(orDiscard(s.Stdout)))
	}
	var shell deploy.Shell
	if s.Process == "" {
		a.s.Stdout = shell.Errors(orDiscard(s.Stdout))
		if deploy.OneWriter(s.Stdout, s.Stderr) {
			a.s.Stderr = a.s.Stdout
		}
	}
	e, err := p.followAs(ctx, namespace, name, r, a.stream, a)
	e.Code = shell.Status(e.Code)
	return e, err
}

// jobOf is the Job of a run, with Secrets of its own for its environment: the release may fail, and then its Secrets go.
func (p *Platform) jobOf(ctx context.Context, service string, r *release, s deploy.RunSpec, name string) (*batchv1.Job, []*corev1.Secret, error) {
	namespace := p.namespace(service)
	spec, err := p.commandSpec(service, r, s.Command(), name)
	if err != nil {
		return nil, nil, deploy.Invalid(service, err.Error())
	}
	spec.RestartPolicy = corev1.RestartPolicyNever
	labels := p.labelled(r.labels(service))
	labels[procLabel] = cmp.Or(s.Process, "run")
	config, err := r.secret(namespace, service)
	if err != nil {
		return nil, nil, err
	}
	config.Name, config.Labels, config.Annotations = name, labels, nil
	env := []*corev1.Secret{config}
	if values, err := p.values(ctx, namespace, service, r, name); err != nil {
		return nil, nil, err
	} else if values != nil {
		values.Labels[procLabel] = labels[procLabel]
		env = append(env, values)
	}
	for _, of := range env { // they may be secrets, and count more than what is there
		of.Data = withVariables(of.Data, s.Env)
	}
	job := &batchv1.Job{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.Int32(0), TTLSecondsAfterFinished: ptr.Int32(int32(jobTTL.Seconds())),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec}}}
	return job, env, nil
}

// withVariables adds "NAME=value" to the data of a Secret.
func withVariables(data map[string][]byte, env []string) map[string][]byte {
	all := maps.Clone(data)
	if all == nil {
		all = map[string][]byte{}
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		all[name] = []byte(value)
	}
	return all
}

func (p *Platform) createJob(ctx context.Context, service string, job *batchv1.Job, env []*corev1.Secret) error {
	if err := p.savePull(ctx, job.Namespace, service); err != nil {
		return err
	}
	for _, s := range env {
		if _, _, err := p.c.Apply(ctx, secrets, s); err != nil {
			return err
		}
	}
	_, _, err := p.c.Apply(ctx, jobs, job)
	return err
}

func (p *Platform) removeJob(ctx context.Context, namespace, name string) {
	if err := p.remove(ctx, jobs, namespace, name); err != nil {
		p.o.Log("deploy: the Job %s is left: %v", name, err)
	}
	for _, s := range []string{name, valuesName(name)} {
		if err := p.remove(ctx, secrets, namespace, s); err != nil {
			p.o.Log("deploy: the Secret %s is left: %v", s, err)
		}
	}
}

// processSpec returns the pod of another process type, with the environment of the web process.
func (p *Platform) processSpec(service string, r *release, process, config string) (*corev1.PodSpec, error) {
	return p.commandSpec(service, r, []string{deploy.ProcessDir + process}, config)
}

// commandSpec returns the pod of a command, with the environment of the web process.
func (p *Platform) commandSpec(service string, r *release, command []string, config string) (*corev1.PodSpec, error) {
	web := r.template.Spec.Containers[0]
	port := int32(8080)
	if len(web.Ports) > 0 {
		port = web.Ports[0].ContainerPort
	}
	spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: container, Image: web.Image, Command: command,
		WorkingDir: web.WorkingDir, Resources: web.Resources,
		Env: []corev1.EnvVar{{Name: "PORT", Value: strconv.Itoa(int(port))}, {Name: "K_SERVICE", Value: service},
			{Name: "K_CONFIGURATION", Value: service}, {Name: "K_REVISION", Value: r.name}}}}}
	p.giveSink(spec, r)
	return spec, p.harden(spec, r.environment(config))
}

func stateOf(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].Name == container {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// objectName makes a valid name of at most n characters for an object. Different names stay different.
func objectName(name string, n int) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	if out == name && len(name) <= n && !strings.Contains(name, "..") && !strings.Contains(name, ".-") && !strings.Contains(name, "-.") {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	out = strings.NewReplacer(".", "-").Replace(out)
	return strings.Trim(out[:min(len(out), n-9)], "-") + "-" + hex.EncodeToString(sum[:4])
}
