package contract

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// jobs are the instances of a Service's worker job.
func (s *suite) jobs(t *testing.T, service string) ([]deploy.Instance, error) {
	t.Helper()
	all, err := s.env.Platform.Instances(within(t), service, false)
	return slices.DeleteFunc(all, func(in deploy.Instance) bool { return in.Type != "job" }), err
}

// instances: a worker has so many instances as it is set to, each with a name, and those that stay go on when their number changes. How one ended
// and how often is told, and what it uses where that is known.
func (s *suite) instances(t *testing.T) {
	p := s.env.Platform
	svc := stays(s.service("instances", "v1", "COLOUR=red"))
	s.mustRoll(t, svc)
	since := map[string]time.Time{}
	for _, n := range []int64{2, 3, 1} {
		if err := p.SetWorkers(within(t), svc, jobs(n)); err != nil {
			t.Fatal(err)
		}
		apptest.Eventually(t, settles, fmt.Sprintf("%d instances are up", n), func() bool {
			all, err := s.jobs(t, "instances")
			up := err == nil && len(all) == int(n)
			for i, in := range all {
				up = up && in.Name == deploy.InstanceName("job", i+1) && in.State == deploy.InstanceUp && in.Revision == "instances-v1" && in.Restarts == 0 && in.Ended == nil
				if before, known := since[in.Name]; up && known && !before.Equal(in.Since) {
					t.Errorf("%s was started again", in.Name)
				}
			}
			for _, in := range all {
				if up {
					since[in.Name] = in.Since
				}
			}
			return up
		})
	}
	apptest.Eventually(t, settles, "each in the log by its name", func() bool {
		var b bytes.Buffer
		return p.Logs(within(t), "instances", deploy.LogOptions{}, &b) == nil && strings.Contains(b.String(), "[instances-v1 job.1] job of v1")
	})
	all, err := p.Instances(within(t), "instances", true)
	if err != nil || len(all) != 2 || all[1].Type != deploy.WebProcess || all[1].State != deploy.InstanceUp || all[1].Name == "" || all[1].Since.IsZero() {
		t.Errorf("instances: %+v, %v", all, err)
	}
	for _, in := range all {
		if u := in.Usage; s.env.Measures && (u == nil || u.Memory <= 0) || u != nil && (u.Memory < 0 || u.CPU < 0) {
			t.Errorf("%s uses %+v", in.Name, u)
		}
	}
	if total, left := p.Memory(within(t)); left < 0 || left > total {
		t.Errorf("of %d bytes of memory %d are left", total, left)
	}
	s.outOfMemory(t)
	if err := p.Delete(within(t), "instances"); err != nil {
		t.Error(err)
	}
}

// outOfMemory: a worker has the size that it is set to, and its end at that limit is told, again and again.
func (s *suite) outOfMemory(t *testing.T) {
	p := s.env.Platform
	hog := s.service("instances", "v2", "MODE=hog")
	if err := p.Apply(within(t), traffic(hog, "instances-v1 100", "instances-v2 0 green")); err != nil {
		t.Fatal(err)
	}
	worker := deploy.Worker{Type: "job", Instances: 1, Memory: resource.MustParse("48Mi")}
	if err := p.SetWorkers(within(t), hog, []deploy.Worker{worker}); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, settles, "the end at its memory limit is told", func() bool {
		all, err := s.jobs(t, "instances")
		return err == nil && len(all) == 1 && all[0].Restarts > 0 && all[0].Ended != nil && all[0].Ended.Reason == deploy.OutOfMemory && all[0].Ended.Detail == "48 MiB"
	})
	apptest.Eventually(t, settles, "it is in trouble", func() bool {
		all, err := p.Troubles(within(t))
		return err == nil && all["instances"] == "job: out of memory"
	})
}
