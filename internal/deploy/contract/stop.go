package contract

import (
	"errors"
	"net/http"
	"testing"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// stop: nothing of a stopped Service runs, and no request starts anything, until it is applied again. A worker is restarted in place.
func (s *suite) stop(t *testing.T) {
	p := s.env.Platform
	if err := p.Stop(within(t), "stop"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("a Service that does not exist: %v", err)
	}
	svc := s.service("stop", "v1")
	s.mustRoll(t, svc)
	if err := p.SetWorkers(within(t), svc, jobs(2)); err != nil {
		t.Fatal(err)
	}
	up := func() (since string) {
		apptest.Eventually(t, settles, "both jobs are up", func() bool {
			all, err := s.jobs(t, "stop")
			since = ""
			for _, in := range all {
				if in.State == deploy.InstanceUp {
					since += in.Since.String()
				}
			}
			return err == nil && len(all) == 2 && all[0].State == deploy.InstanceUp && all[1].State == deploy.InstanceUp
		})
		return since
	}
	before := up()
	if err := p.RestartWorker(within(t), svc, jobs(2)[0]); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, settles, "both jobs run afresh", func() bool { return up() != before })
	if err := p.Stop(within(t), "stop"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, settles, "requests are refused", func() bool {
		code, text, err := s.get(within(t), "stop", "/")
		return err == nil && code == http.StatusServiceUnavailable && text == "the app stop is stopped: no request starts it; its owner does: ps start stop\n"
	})
	if err := p.Stop(within(t), "stop"); err != nil {
		t.Errorf("again: %v", err)
	}
	s.stopsAgain(t)
	all, err := p.Instances(within(t), "stop", false)
	if err != nil && !errors.Is(err, deploy.ErrNotFound) || len(all) > 0 {
		t.Errorf("it is stopped: %+v, %v", all, err)
	}
	if err := p.Apply(within(t), traffic(svc, "stop-v1 100")); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, settles, "it answers again", func() bool {
		code, body, err := s.get(within(t), "stop", "/")
		return err == nil && code == http.StatusOK && body == "v1"
	})
	if all, err := s.jobs(t, "stop"); err != nil || len(all) > 0 {
		t.Errorf("workers that nothing has set: %+v, %v", all, err)
	}
	if err := p.Delete(within(t), "stop"); err != nil {
		t.Error(err)
	}
}

// stopsAgain: a release that does not run leaves a stopped Service stopped, where nothing is there of one; elsewhere who has stopped it does so again.
func (s *suite) stopsAgain(t *testing.T) {
	if _, err := s.env.Platform.Get(within(t), "stop"); !errors.Is(err, deploy.ErrStopped) {
		return
	}
	if told, _, err := s.roll(t, s.service("stop", "v2", "MODE=exit")); err == nil {
		t.Errorf("a release that does not run: %s", told)
	}
	apptest.Eventually(t, settles, "requests are refused again", func() bool {
		code, _, err := s.get(within(t), "stop", "/")
		return err == nil && code == http.StatusServiceUnavailable
	})
}
