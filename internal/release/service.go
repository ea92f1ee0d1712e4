package release

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/project"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Annotations that gitd reads back from the Service of an older release.
const (
	pathAnnotation    = "gitd.io/health-path"
	timeoutAnnotation = "gitd.io/health-timeout"
	commitAnnotation  = "gitd.io/commit"
	portAnnotation    = "gitd.io/port" // set where the app does not listen on $PORT: the container's port is where it was found
)

// The process types that mean something by their name.
const (
	webProcess     = deploy.WebProcess
	releaseProcess = "release" // runs before a release starts, as on Heroku
	workerProcess  = "worker"  // what buildpacks call a program that takes no requests
)

// newService returns the Service of a release without traffic, which the rollout sets.
func newService(r app.Release, result *build.Result, w project.Web, run processes) *servingv1.Service {
	env := make([]corev1.EnvVar, 0, len(w.Env))
	for name, value := range w.Env {
		env = append(env, corev1.EnvVar{Name: name, Value: value})
	}
	sort.Slice(env, func(i, j int) bool { return env[i].Name < env[j].Name })

	// What it writes to its file system has a bound of the same size: on one machine it is in memory, on a cluster it is on the node's disk,
	// of which no share is reserved.
	limits := corev1.ResourceList{corev1.ResourceMemory: w.Memory, corev1.ResourceEphemeralStorage: w.Memory}
	requests := corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Mi")}
	if !w.CPU.IsZero() {
		limits[corev1.ResourceCPU] = w.CPU
	}
	scale := map[string]string{
		autoscaling.MinScaleAnnotationKey:     strconv.FormatInt(w.MinScale, 10),
		autoscaling.MaxScaleAnnotationKey:     strconv.FormatInt(w.MaxScale, 10),
		autoscaling.WindowAnnotationKey:       w.Window.String(),
		serving.ProgressDeadlineAnnotationKey: w.StartTimeout.String(),
		pathAnnotation:                        w.HealthPath,
		timeoutAnnotation:                     w.HealthTimeout.String(),
		commitAnnotation:                      r.Commit,
	}
	scale[deploy.AppIDAnnotation] = strconv.FormatInt(r.AppID, 10)
	seconds := int64(w.Timeout / time.Second)
	service := &servingv1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: r.App, Namespace: "default"},
		Spec: servingv1.ServiceSpec{ConfigurationSpec: servingv1.ConfigurationSpec{Template: servingv1.RevisionTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Name: r.Revision, Annotations: scale},
			Spec: servingv1.RevisionSpec{
				ContainerConcurrency: &w.Concurrency,
				TimeoutSeconds:       &seconds,
				PodSpec: corev1.PodSpec{Containers: []corev1.Container{{
					Image:     result.Repository + "@" + result.Digest,
					Env:       env,
					Ports:     []corev1.ContainerPort{{ContainerPort: int32(w.Port), Name: w.Protocol}},
					Resources: corev1.ResourceRequirements{Limits: limits, Requests: requests},
				}}},
			},
		}}},
	}
	_ = function.Set(scale, result.Function) // a struct of texts and a number: cannot fail
	deploy.SetAppID(service, r.AppID)
	deploy.SetWorkers(service, slices.Concat(run.workers, run.off))
	if !run.web {
		deploy.SetWithoutWeb(service)
	}
	return service
}

// check returns the health check recorded in a Service.
func check(s *servingv1.Service) (path string, timeout time.Duration) {
	a := s.Spec.Template.Annotations
	timeout, err := time.ParseDuration(a[timeoutAnnotation])
	if err != nil {
		timeout = 30 * time.Second
	}
	if path = a[pathAnnotation]; path == "" {
		path = "/"
	}
	return path, timeout
}

func has(ps []app.Process, kind string) bool {
	return slices.ContainsFunc(ps, func(p app.Process) bool { return p.Type == kind })
}

func types(ps []app.Process) string {
	if len(ps) == 0 {
		return "none"
	}
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Type
	}
	return strings.Join(names, ", ")
}
