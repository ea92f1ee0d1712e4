package release

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/deploy"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Setting is one thing that decides how a release runs, by its name in project.toml ([io.gitd.web]), or "web" and "workers": the process types
// that run.
type Setting struct{ Name, Value string }

// Settings are what the Service of a release says of how it runs, in the order in which people read them, and its environment: variable by
// variable, with the values as project.toml has them.
func Settings(manifest []byte) (settings []Setting, env map[string]string, err error) {
	var s servingv1.Service
	if err := json.Unmarshal(manifest, &s); err != nil {
		return nil, nil, err
	}
	t := &s.Spec.Template
	add := func(name, value string) {
		if value != "" {
			settings = append(settings, Setting{name, value})
		}
	}
	add("web", strconv.FormatBool(!deploy.WithoutWeb(t)))
	add("workers", workerSettings(&s))
	env = map[string]string{}
	if len(t.Spec.Containers) > 0 {
		c := &t.Spec.Containers[0]
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		for _, p := range c.Ports {
			add("port", strconv.Itoa(int(p.ContainerPort)))
			add("protocol", p.Name)
		}
		for _, l := range []struct {
			name string
			of   corev1.ResourceName
		}{{"memory", corev1.ResourceMemory}, {"cpu", corev1.ResourceCPU}} {
			if q, ok := c.Resources.Limits[l.of]; ok {
				add(l.name, q.String())
			}
		}
	}
	if n := t.Spec.ContainerConcurrency; n != nil {
		add("concurrency", strconv.FormatInt(*n, 10))
	}
	for _, a := range []struct{ name, of string }{
		{"min-scale", autoscaling.MinScaleAnnotationKey}, {"max-scale", autoscaling.MaxScaleAnnotationKey}, {"window", autoscaling.WindowAnnotationKey},
		{"health-path", pathAnnotation}, {"health-timeout", timeoutAnnotation}, {"start-timeout", serving.ProgressDeadlineAnnotationKey},
	} {
		add(a.name, t.Annotations[a.of])
	}
	if n := t.Spec.TimeoutSeconds; n != nil {
		add("timeout", strconv.FormatInt(*n, 10)+"s")
	}
	return settings, env, nil
}

// workerSettings are the workers of a Service with their sizes: "worker=2 memory=1Gi, clock=1".
func workerSettings(s *servingv1.Service) string {
	var all []string
	for _, w := range deploy.Workers(s) {
		text := deploy.Scale{Type: w.Type, Min: w.Instances}.String()
		if !w.Memory.IsZero() {
			text += " memory=" + w.Memory.String()
		}
		if !w.CPU.IsZero() {
			text += " cpu=" + w.CPU.String()
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
