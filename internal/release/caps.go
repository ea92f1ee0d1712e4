package release

import (
	"context"
	"encoding/json"
	"maps"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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

// checkCaps refuses settings above the caps, with these workers, before anything is built. A setting without a bound gets the cap. set is what was set by hand.
func (m *Machine) checkCaps(ctx context.Context, r app.Release, d *project.Descriptor, workers []deploy.Worker, set []deploy.Scale) error {
	c, w := m.o.Caps, &d.Web
	if c.Scale > 0 && w.MaxScaleSaid && w.MaxScale > c.Scale {
		return refused("ask for less in project.toml", "max-scale", "max-scale = %d is more than this server gives an app: %d", w.MaxScale, c.Scale)
	}
	if c.Scale > 0 && (w.MaxScale == 0 || w.MaxScale > c.Scale) { // no bound, or the default
		w.MaxScale = max(c.Scale, w.MinScale)
	}
	s := newService(r, &build.Result{}, *w, processes{web: true, workers: workers})
	deploy.SetScale(s, set)
	return m.checkService(ctx, r, s, "ask for less in project.toml")
}

// checkService refuses a Service above the caps. less says how to ask for less.
func (m *Machine) checkService(ctx context.Context, r app.Release, s *servingv1.Service, less string) error {
	c := m.o.Caps
	refuse := func(flag, format string, args ...any) error { return refused(less, flag, format, args...) }
	limits := s.Spec.Template.Spec.Containers[0].Resources.Limits
	sizes := append(deploy.Workers(s), deploy.Worker{Memory: limits[corev1.ResourceMemory], CPU: limits[corev1.ResourceCPU]})
	for _, w := range sizes {
		if c.Memory > 0 && w.Memory.Value() > c.Memory {
			return refuse("max-memory", "memory = %q is more than this server gives an instance: %s", w.Memory.String(), quantity(c.Memory))
		}
		if c.CPU > 0 && w.CPU.MilliValue() > c.CPU {
			return refuse("max-cpu", "cpu = %q is more than this server gives an instance: %s", w.CPU.String(), resource.NewMilliQuantity(c.CPU, resource.DecimalSI))
		}
	}
	for _, by := range deploy.ScaleOf(s) {
		if by.Type == webProcess && c.Scale > 0 && (by.Max > c.Scale || by.Max == 0) {
			return refuse("max-scale", "%s is more than this server gives an app: %d", by, c.Scale)
		}
	}
	always := alwaysRun(s)
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
	if sum := others + alwaysTakes(s); sum > c.KeyMemory {
		return refuse("max-key-memory", "with this release the instances that always run, of all apps of the key %q, would take %s, more than %s", owner, quantity(sum), quantity(c.KeyMemory))
	}
	return nil
}

// refused is the error for what is above a cap. less says how to ask for less, flag sets the cap.
func refused(less, flag, format string, args ...any) error {
	return app.Errorf(app.CodeLimitExceeded, less+", or ask the operator (gitd serve --"+flag+")", format, args...)
}

// workersAsked returns the process types that will run beside web, as far as is known before the build.
func workersAsked(declared []string, said map[string]project.Process) map[string]bool {
	asked := map[string]bool{}
	for _, t := range declared {
		asked[t] = isWorker(t, said)
	}
	for t, p := range said {
		if p.Instances != nil {
			asked[t] = *p.Instances > 0 && t != webProcess
		}
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
	all, err := m.o.Store.LiveServices(ctx, a.Owner, r.AppID)
	if err != nil {
		return a.Owner, 0, err
	}
	m.reserves.mu.Lock()
	defer m.reserves.mu.Unlock()
	for _, l := range all {
		takes, err := m.reserves.of(ctx, m.o.Store, l)
		if err != nil {
			return a.Owner, 0, err
		}
		bytes += takes
	}
	return a.Owner, bytes, nil
}

// reserves remembers what live Services reserve: each push asks for those of all apps of its key.
type reserves struct {
	mu sync.Mutex
	// mu guards the following.
	bytes map[int64]int64 // by the event that has the Service
}

// mostReserves is how many are remembered.
const mostReserves = 20_000

// of returns the memory of the instances that always run of a Service. It is called with mu held.
func (v *reserves) of(ctx context.Context, from *store.Store, l store.LiveService) (int64, error) {
	if takes, ok := v.bytes[l.Event]; ok {
		return takes, nil
	}
	text, err := from.ServiceIn(ctx, l)
	if err != nil {
		return 0, err
	}
	var s servingv1.Service
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, err
	}
	if v.bytes == nil || len(v.bytes) >= mostReserves {
		v.bytes = map[int64]int64{}
	}
	takes := alwaysTakes(&s)
	v.bytes[l.Event] = takes
	return takes, nil
}

// alwaysRun returns how many instances of a Service always run.
func alwaysRun(s *servingv1.Service) (n int64) {
	if !deploy.WithoutWeb(&s.Spec.Template) {
		n = deploy.WebScale(s).Min
	}
	for _, w := range deploy.Workers(s) {
		n += w.Instances
	}
	return n
}

// alwaysTakes returns the memory that these may take.
func alwaysTakes(s *servingv1.Service) (bytes int64) {
	if len(s.Spec.Template.Spec.Containers) == 0 {
		return 0
	}
	each := s.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value()
	if !deploy.WithoutWeb(&s.Spec.Template) {
		bytes = deploy.WebScale(s).Min * each
	}
	for _, w := range deploy.Workers(s) {
		if w.Memory.IsZero() {
			bytes += w.Instances * each
		} else {
			bytes += w.Instances * w.Memory.Value()
		}
	}
	return bytes
}

func quantity(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }
