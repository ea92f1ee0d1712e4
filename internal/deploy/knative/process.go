package knative

import (
	"cmp"
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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// jobTTL is how long Kubernetes keeps a finished Job that gitd could not delete.
const jobTTL = 10 * time.Minute

// lastOutput bounds the wait for what an ended process wrote.
const lastOutput = 10 * time.Second

// RunProcess implements deploy.Platform: a Job with one pod, that is not tried again and goes when it has ended.
func (p *Platform) RunProcess(ctx context.Context, svc *servingv1.Service, process string, w io.Writer) error {
	if err := deploy.CheckProcesses(process); err != nil {
		return err
	}
	_, r, err := p.accept(ctx, svc)
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
	// Its configuration is its own: the release may come to nothing.
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
	if err := p.keepPull(ctx, namespace, service); err != nil {
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

// processSpec is the pod of another process type, with the environment that the web process has.
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
	return spec, p.lockUp(spec, config)
}

// follow waits for a Job's pod, passes on what it writes, and returns how it ended.
func (p *Platform) follow(ctx context.Context, namespace, job string, r *release, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mine := selector("batch.kubernetes.io/job-name", job)
	changed := p.c.Watch(ctx, kube.Interest{Resource: pods, Namespace: namespace, Selector: mine}, kube.Interest{Resource: jobs, Namespace: namespace, Name: job})
	rev := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: job, Namespace: namespace}, Spec: r.template.Spec} // for diagnose
	since := map[string]time.Time{}
	var streamed chan error
	over := false // the Job has ended; its pod is looked at once more, for how
	for {
		all, err := list[corev1.Pod](ctx, p.c, pods, namespace, mine)
		if err != nil {
			return err
		}
		var hindered error
		for i := range all {
			pod := &all[i]
			state := stateOf(pod)
			if state != nil && (state.State.Running != nil || state.State.Terminated != nil) && streamed == nil {
				streamed = make(chan error, 1)
				go func() { streamed <- p.copyLog(ctx, namespace, pod.Name, w) }()
			}
			if state != nil && state.State.Terminated != nil {
				select {
				case <-streamed:
				case <-time.After(lastOutput):
				case <-ctx.Done():
				}
				return finished(r, state.State.Terminated)
			}
			h := diagnosePod(rev, pod, time.Now())
			if h.err != nil {
				hindered = h.err
			}
			if h.err != nil && streamed == nil {
				if since[h.key].IsZero() {
					since[h.key] = time.Now()
				}
				if time.Since(since[h.key]) >= h.grace {
					return h.err
				}
			}
		}
		end, err := p.jobEnd(ctx, namespace, job, len(all) == 0)
		switch {
		case err != nil:
			return err
		case end != nil && over && end.Type == batchv1.JobComplete:
			return nil
		case end != nil && over && hindered != nil:
			return hindered
		case end != nil && over:
			return runtimeError("its pod is gone, and nobody knows how it ended: %s", oneLine(cmp.Or(end.Message, end.Reason)))
		case end != nil:
			over = true
			continue
		}
		select {
		case <-changed:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// jobEnd returns the condition that ends a Job, nil where it goes on. For one without a pod the error says why the cluster takes none.
func (p *Platform) jobEnd(ctx context.Context, namespace, job string, noPod bool) (*batchv1.JobCondition, error) {
	j, err := get[batchv1.Job](ctx, p.c, jobs, namespace, job)
	if apierrors.IsNotFound(err) {
		return nil, app.Errorf(app.CodeCancelled, "push again", "the Job %s was deleted", job)
	} else if err != nil {
		return nil, err
	}
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobFailed || c.Type == batchv1.JobComplete) {
			return c, nil
		}
	}
	if !noPod {
		return nil, nil
	}
	all, err := list[corev1.Event](ctx, p.c, events, namespace, "")
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.InvolvedObject.UID == j.UID && e.Reason == "FailedCreate" {
			return nil, runtimeError("the cluster does not take its pod: %s", refusal(e.Message))
		}
	}
	return nil, nil
}

// finished is how a process ended.
func finished(r *release, t *corev1.ContainerStateTerminated) error {
	if t.ExitCode == 0 && t.Signal == 0 {
		return nil
	}
	e := terminated(&servingv1.Revision{Spec: r.template.Spec}, t)
	e.Port = 0
	return e
}

func stateOf(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].Name == container {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// objectName makes a name for an object out of one that may have other characters, or more than n of them. Different ones stay different.
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

// reap deletes the Jobs of an earlier gitd: nobody waits for them any more.
func (p *Platform) reap(ctx context.Context) error {
	left := selector(managedBy, manager) + "," + procLabel + "," + appLabel
	all, err := list[batchv1.Job](ctx, p.c, jobs, p.o.Namespace, left)
	if err != nil {
		return err
	}
	for _, j := range all {
		if p.others(&j) || p.namespace(j.Labels[appLabel]) != j.Namespace {
			continue
		}
		p.o.Log("deploy: the process %s of %s, which an earlier gitd ran, is stopped", j.Labels[procLabel], j.Labels[revLabel])
		if err := p.remove(ctx, jobs, j.Namespace, j.Name); err != nil {
			return err
		}
		if err := p.remove(ctx, secrets, j.Namespace, j.Name); err != nil {
			return err
		}
	}
	return nil
}
