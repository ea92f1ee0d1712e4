package deploy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// workersAnnotation of a template has the process types that run beside web: "worker=2 memory=1Gi cpu=500m,clock". A number that is missing is 1.
const workersAnnotation = "gitd.io/workers"

// Worker is a process type that runs beside web, or without one.
type Worker struct {
	Type      string            `json:"type"`
	Instances int64             `json:"instances"`
	Memory    resource.Quantity `json:"memory"` // limit of each instance; zero for web's
	CPU       resource.Quantity `json:"cpu"`    // the same
}

// SetWorkers records the workers of a Service in its template.
func SetWorkers(s *servingv1.Service, workers []Worker) {
	entries := make([]string, len(workers))
	for i, w := range workers {
		entries[i] = w.Type
		if w.Instances != 1 {
			entries[i] += "=" + strconv.FormatInt(w.Instances, 10)
		}
		if !w.Memory.IsZero() {
			entries[i] += " memory=" + w.Memory.String()
		}
		if !w.CPU.IsZero() {
			entries[i] += " cpu=" + w.CPU.String()
		}
	}
	if s.Spec.Template.Annotations == nil {
		s.Spec.Template.Annotations = map[string]string{}
	}
	if len(entries) == 0 {
		delete(s.Spec.Template.Annotations, workersAnnotation)
		return
	}
	s.Spec.Template.Annotations[workersAnnotation] = strings.Join(entries, ",")
}

// Workers returns the workers of a Service that have instances: those that its template records, as many of each as its scale says (see SetScale).
func Workers(s *servingv1.Service) []Worker {
	workers := RecordedWorkers(s)
	for _, e := range ScaleOf(s) {
		i := slices.IndexFunc(workers, func(w Worker) bool { return w.Type == e.Type })
		switch {
		case e.Type == WebProcess:
		case i >= 0:
			workers[i].Instances = e.Min
		default:
			workers = append(workers, Worker{Type: e.Type, Instances: e.Min})
		}
	}
	return slices.DeleteFunc(workers, func(w Worker) bool { return w.Instances == 0 })
}

// RecordedWorkers returns the workers in the template of a Service, also those without an instance. What is not understood is left out.
func RecordedWorkers(s *servingv1.Service) []Worker {
	var workers []Worker
	for entry := range strings.SplitSeq(s.Spec.Template.Annotations[workersAnnotation], ",") {
		fields := strings.Fields(entry)
		if len(fields) == 0 {
			continue
		}
		w := Worker{Instances: 1}
		var number string
		if w.Type, number, _ = strings.Cut(fields[0], "="); number != "" {
			w.Instances, _ = strconv.ParseInt(number, 10, 64)
		}
		for _, f := range fields[1:] {
			name, value, _ := strings.Cut(f, "=")
			q, err := resource.ParseQuantity(value)
			switch {
			case err != nil:
			case name == "memory":
				w.Memory = q
			case name == "cpu":
				w.CPU = q
			}
		}
		workers = append(workers, w)
	}
	return workers
}

// WorkerNames lists workers for people: "worker (2), clock".
func WorkerNames(workers []Worker) string {
	names := make([]string, len(workers))
	for i, w := range workers {
		if names[i] = w.Type; w.Instances != 1 {
			names[i] = fmt.Sprintf("%s (%d)", w.Type, w.Instances)
		}
	}
	return strings.Join(names, ", ")
}

// WorkerTypes returns the process types of workers.
func WorkerTypes(workers []Worker) []string {
	types := make([]string, len(workers))
	for i, w := range workers {
		types[i] = w.Type
	}
	return types
}
