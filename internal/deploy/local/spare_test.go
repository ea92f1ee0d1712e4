package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/contract"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// rotating is a configuration whose value changes.
type rotating struct{ times atomic.Int64 }

func (r *rotating) Values(context.Context, int64, string, int) (map[string][]byte, error) {
	return map[string][]byte{"COLOUR": fmt.Appendf(nil, "colour-%d", r.times.Add(1))}, nil
}

// toZero stops the instances of an app without its window's wait.
func toZero(t testing.TB, p *Platform, service string) {
	t.Helper()
	r, err := p.find(service, service+"-v1")
	if err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, time.Minute, "no request under way", func() bool { return r.proxy.InFlight() == 0 })
	r.retireAll()
}

func (r *revision) retireAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scaler, r.wanted = nil, 0
	for _, in := range slices.Clone(r.instances) {
		r.retire(in)
	}
}

// prepareIdle brings an app to zero, and waits until it is prepared.
func prepareIdle(ctx context.Context, p *Platform, image string) error {
	if err := p.Apply(ctx, newService("idle", image)); err != nil {
		return err
	}
	if err := p.WaitReady(ctx, "idle", "idle-v1"); err != nil {
		return err
	}
	r, err := p.find("idle", "idle-v1")
	if err != nil {
		return err
	}
	r.retireAll()
	for p.prepared() == 0 { // the file that the next process reads is there before
		time.Sleep(time.Millisecond)
	}
	return nil
}

// atZero is a Service that may be at zero.
func atZero(name, image string) *servingv1.Service {
	svc := newService(name, image)
	svc.Spec.Template.Annotations = map[string]string{"autoscaling.knative.dev/window": "6s", deploy.AppIDAnnotation: "7"}
	deploy.SetConfiguration(&svc.Spec.Template, name, 1)
	return svc
}

// containersIn are the directories of containers of any kind on a machine.
func (m *machine) containersIn(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(m.dir, "sandbox", "containers", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(dir string) bool { return strings.HasPrefix(filepath.Base(dir), ".") }) // being made or removed
}

// An app at zero is prepared, and its next instance starts from that, with the configuration of that moment. A prepared instance is not one of the
// instances that are told of, and goes with what it is for.
func TestSpare(t *testing.T) {
	m := newMachine(t)
	left := atomic.Int64{}
	left.Store(1 << 50)
	options := func(o *Options) { o.Config, o.Prepared, o.MemoryLeft = &rotating{}, 1, left.Load }
	p := m.open(t, options)
	f := serve(t, p)
	image := m.add(t, "testapp", contract.Image(t))
	m.checkStartsFromSpare(t, p, f, image)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if dirs := m.containersIn(t); len(dirs) != 0 {
		t.Errorf("left by a platform that was closed: %v", dirs)
	}
	p = m.open(t, options)
	f.use(t, p)
	wantPrepared(t, p, 1, "of the next process")
	m.checkSpareGoes(t, p, f, image, &left)
}

// wantPrepared waits until so many instances are prepared.
func wantPrepared(t testing.TB, p *Platform, want int, when string) {
	t.Helper()
	apptest.Eventually(t, time.Minute, fmt.Sprintf("%d prepared instances %s", want, when), func() bool { return p.prepared() == want })
}

// checkStartsFromSpare checks the instances of one app, which is at zero in the end.
func (m *machine) checkStartsFromSpare(t *testing.T, p *Platform, f *testServer, image string) {
	t.Helper()
	if err := p.Apply(t.Context(), atZero("idle", image)); err != nil {
		t.Fatal(err)
	}
	first := mustGet(t, f.address, "idle.localhost", "/env?name=COLOUR")
	toZero(t, p, "idle")
	wantPrepared(t, p, 1, "after the first request")
	if all, err := p.Instances(t.Context(), "idle", false); err != nil || len(all) != 0 {
		t.Errorf("instances while one is prepared: %+v, %v", all, err)
	}
	if all, err := m.host.Containers(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("containers while one is prepared: %+v, %v", all, err)
	}
	dirs := m.containersIn(t)
	if len(dirs) != 1 {
		t.Fatalf("%v", dirs)
	}
	if text, err := os.ReadFile(filepath.Join(dirs[0], "config.json")); err != nil || strings.Contains(string(text), "colour-") {
		t.Errorf("%s, %v", text, err)
	}
	if second := mustGet(t, f.address, "idle.localhost", "/env?name=COLOUR"); first != "colour-1" || second != "colour-2" {
		t.Errorf("the configuration was %s, and then %s", first, second)
	}
	all, err := p.Instances(t.Context(), "idle", false)
	if err != nil || len(all) != 1 || !strings.HasSuffix(dirs[0], "-"+all[0].Name) || all[0].Restarts != 0 || time.Since(all[0].Since) > time.Minute {
		t.Errorf("%+v instead of %s, %v", all, dirs[0], err)
	}
	toZero(t, p, "idle")
	wantPrepared(t, p, 1, "after the second request")
}

// checkSpareGoes checks that a prepared instance goes when there is no place or no memory for it, when its app is stopped, and when it is deleted.
func (m *machine) checkSpareGoes(t *testing.T, p *Platform, f *testServer, image string, left *atomic.Int64) {
	t.Helper()
	// Another app that is used later has the only place.
	if err := p.Apply(t.Context(), atZero("other", image)); err != nil {
		t.Fatal(err)
	}
	mustGet(t, f.address, "other.localhost", "/id")
	toZero(t, p, "other")
	apptest.Eventually(t, time.Minute, "the one that was used last is prepared", func() bool {
		dirs := m.containersIn(t)
		return len(dirs) == 1 && strings.HasPrefix(filepath.Base(dirs[0]), "other-v1-") && p.prepared() == 1
	})

	// A machine without memory has none; with it again, it has.
	left.Store(1)
	p.spares.wake()
	wantPrepared(t, p, 0, "without memory")
	left.Store(1 << 50)
	p.spares.wake()
	wantPrepared(t, p, 1, "with memory again")

	if err := p.Stop(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, time.Minute, "the stopped app has none, and the other one has", func() bool {
		dirs := m.containersIn(t)
		return len(dirs) == 1 && strings.HasPrefix(filepath.Base(dirs[0]), "idle-v1-") && p.prepared() == 1
	})
	if err := p.Delete(t.Context(), "idle"); err != nil {
		t.Fatal(err)
	}
	if dirs := m.containersIn(t); len(dirs) != 0 {
		t.Errorf("left after the deletion: %v", dirs)
	}
}

func TestThreadsOf(t *testing.T) {
	dir := t.TempDir()
	if threads, most := threadsOf(dir); threads != 0 || most != 0 {
		t.Errorf("%d of %d", threads, most)
	}
	if err := os.MkdirAll(filepath.Join(dir, "sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"loadavg": "0.1 0.2 0.3 2/987 4711\n", "sys/kernel/pid_max": "32768\n", "sys/kernel/threads-max": "1000\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if threads, most := threadsOf(dir); threads != 987 || most != 1000 {
		t.Errorf("%d of %d", threads, most)
	}
}
