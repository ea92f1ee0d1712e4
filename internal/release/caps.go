package release

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"k8s.io/apimachinery/pkg/api/resource"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Caps limit what apps may ask for in project.toml; 0 means no limit, but for Previews.
type Caps struct {
	Memory    int64 // bytes of one instance
	CPU       int64 // thousandths of a core, of one instance
	Scale     int64 // instances of an app
	MinScale  int64 // instances of an app that always run, workers included
	KeyMemory int64 // bytes that the instances which always run may have together, of all apps that one key owns
	Previews  int   // of an app; 0 for none
}

// checkCaps refuses settings above the caps, with that many workers, before anything is built. A setting without a bound gets the cap.
func (m *Machine) checkCaps(ctx context.Context, r app.Release, d *project.Descriptor, workers int64) error {
	c, w := m.o.Caps, &d.Web
	refuse := func(flag, format string, args ...any) error {
		return app.Errorf(app.CodeLimitExceeded, "ask for less in project.toml, or ask the operator (gitd serve --"+flag+")", format, args...)
	}
	if c.Memory > 0 && w.Memory.Value() > c.Memory {
		return refuse("max-memory", "memory = %q is more than this server gives an instance: %s", w.Memory.String(), quantity(c.Memory))
	}
	if c.CPU > 0 && w.CPU.MilliValue() > c.CPU {
		return refuse("max-cpu", "cpu = %q is more than this server gives an instance: %s", w.CPU.String(), resource.NewMilliQuantity(c.CPU, resource.DecimalSI))
	}
	if c.Scale > 0 && w.MaxScaleSaid && w.MaxScale > c.Scale {
		return refuse("max-scale", "max-scale = %d is more than this server gives an app: %d", w.MaxScale, c.Scale)
	}
	if c.Scale > 0 && (w.MaxScale == 0 || w.MaxScale > c.Scale) { // no bound, or the default
		w.MaxScale = max(c.Scale, w.MinScale)
	}
	always := w.MinScale + workers
	if c.MinScale > 0 && always > c.MinScale {
		return refuse("max-min-scale", "%d instances that always run (min-scale, and workers) are more than this server gives an app: %d", always, c.MinScale)
	}
	if c.KeyMemory <= 0 || always == 0 {
		return nil
	}
	owner, others, err := m.reserved(ctx, r)
	if err != nil || owner == "" {
		return err
	}
	if sum := others + always*w.Memory.Value(); sum > c.KeyMemory {
		return refuse("max-key-memory", "with this release the instances that always run, of all apps of the key %q, would take %s, more than %s", owner, quantity(sum), quantity(c.KeyMemory))
	}
	return nil
}

// workersAsked returns the process types that will run beside web, as far as is known before the build.
func workersAsked(declared []string, instances map[string]int64) map[string]bool {
	asked := map[string]bool{}
	for _, t := range declared {
		asked[t] = isWorker(t, instances)
	}
	for t, n := range instances {
		asked[t] = n > 0 && t != webProcess
	}
	maps.DeleteFunc(asked, func(_ string, runs bool) bool { return !runs })
	return asked
}

// reserved returns the owner of the app of a release, and the memory of the instances that always run in the owner's other apps.
func (m *Machine) reserved(ctx context.Context, r app.Release) (owner string, bytes int64, err error) {
	a, err := m.o.Store.App(ctx, r.App)
	if err != nil || a.Owner == "" {
		return "", 0, err
	}
	err = m.o.Store.LiveServices(ctx, a.Owner, r.AppID, func(_ string, text []byte) error {
		var s servingv1.Service
		err := json.Unmarshal(text, &s)
		bytes += alwaysTakes(&s)
		return err
	})
	return a.Owner, bytes, err
}

// alwaysTakes returns the memory of the instances of a Service that always run.
func alwaysTakes(s *servingv1.Service) int64 {
	t := s.Spec.Template
	always, _ := strconv.ParseInt(t.Annotations[autoscaling.MinScaleAnnotationKey], 10, 64)
	always += int64(len(deploy.Workers(s)))
	if len(t.Spec.Containers) == 0 {
		return 0
	}
	return always * t.Spec.Containers[0].Resources.Limits.Memory().Value()
}

func quantity(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }
