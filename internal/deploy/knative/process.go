package knative

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
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

// RunProcess implements deploy.Platform: a Job with one pod, which is not retried, and is deleted when it has ended.
func (p *Platform) RunProcess(ctx context.Context, svc *servingv1.Service, process string, w io.Writer) error {
	if err := deploy.CheckProcesses(process); err != nil {
		return err
	}
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
	}
	ctx = p.calling(ctx)
	return explained(ctx, p.runProcess(ctx, svc.Name, r, process, w), "run the process "+process+" of "+r.name)
}

func (p *Platform) runProcess(ctx context.Context, service string, r *release, process string, w io.Writer) error {
	namespace := p.namespace(service)
	if err := p.ensureNamespace(ctx, namespace); err != nil {
		return err
	}

	name := objectName(r.name+"."+process, 52) + "-" + strings.ToLower(rand.Text()[:5])
	spec, err := p.processSpec(service, r, process, name)
	if err != nil {
		return deploy.Invalid(service, err.Error())
	}
	spec.RestartPolicy = corev1.RestartPolicyNever
	labels := p.labelled(r.labels(service))
	labels[procLabel] = process
	// The Job has a Secret of its own: the release may fail, and then its Secret goes.
	config, err := r.secret(namespace, service)
	if err != nil {
		return err
	}
	config.Name, config.Labels, config.Annotations = name, labels, nil
	job := &batchv1.Job{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.Int32(0), TTLSecondsAfterFinished: ptr.Int32(int32(jobTTL.Seconds())),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *spec}}}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := p.remove(ctx, jobs, namespace, name); err != nil {
			p.o.Log("deploy: the Job %s is left: %v", name, err)
		}
		if err := p.remove(ctx, secrets, namespace, name); err != nil {
			p.o.Log("deploy: the Secret %s is left: %v", name, err)
		}
	}()
	if err := p.savePull(ctx, namespace, service); err != nil {
		return err
	}
	if _, _, err := p.c.Apply(ctx, secrets, config); err != nil {
		return err
	}
	if _, _, err := p.c.Apply(ctx, jobs, job); err != nil {
		return err
	}
	return p.follow(ctx, namespace, name, r, w)
}

// processSpec returns the pod of another process type, with the environment of the web process.
func (p *Platform) processSpec(service string, r *release, process, config string) (*corev1.PodSpec, error) {
	web := r.template.Spec.Containers[0]
	port := int32(8080)
	if len(web.Ports) > 0 {
		port = web.Ports[0].ContainerPort
	}
	spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: container, Image: web.Image, Command: []string{deploy.ProcessDir + process},
		WorkingDir: web.WorkingDir, Resources: web.Resources,
		Env: []corev1.EnvVar{{Name: "PORT", Value: strconv.Itoa(int(port))}, {Name: "K_SERVICE", Value: service},
			{Name: "K_CONFIGURATION", Value: service}, {Name: "K_REVISION", Value: r.name}}}}}
	return spec, p.harden(spec, config)
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
