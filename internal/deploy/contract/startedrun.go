package contract

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// startedRun: a run that outlives gitd is started once, and is the next gitd's; its output is kept.
func (s *suite) startedRun(t *testing.T) {
	p := s.env.Platform
	svc := s.service("started", "v1", "COLOUR=red")
	file := t.TempDir() + "/j1.log"
	spec := deploy.RunSpec{Name: "started-job-1", Args: []string{program, "both"}, Log: file, Grace: time.Second}
	if _, err := p.WaitRun(within(t), "started", spec.Name); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("before it is started: %v", err)
	}
	for range 2 { // the second does nothing
		if err := p.StartRun(within(t), svc, spec); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := p.WaitRun(within(t), "started", spec.Name); err != nil || e != (deploy.Exit{}) {
		t.Errorf("%+v, %v", e, err)
	}
	if err := p.StartRun(within(t), svc, spec); err != nil {
		t.Errorf("again, when it has ended: %v", err)
	}
	if err := p.RemoveRun(within(t), "started", spec.Name); err != nil {
		t.Error(err)
	}
	if err := p.RemoveRun(within(t), "started", spec.Name); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if b := kept(file); !strings.Contains(b, "out") || !strings.Contains(b, "err") || strings.Count(b, "out") != 1 {
		t.Errorf("log: %q", b)
	}
	spec = deploy.RunSpec{Name: "started-job-2", Args: []string{program, "deaf"}, Log: t.TempDir() + "/j2.log", Grace: time.Second}
	if err := p.StartRun(within(t), svc, spec); err != nil {
		t.Fatal(err)
	}
	ended := make(chan deploy.Exit, 1)
	go func() {
		e, err := p.WaitRun(within(t), "started", spec.Name)
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	if err := p.StopRun(within(t), "started", spec.Name, time.Second); err != nil {
		t.Error(err)
	}
	if e := <-ended; e.Code == 0 || e.Signal == "" {
		t.Errorf("stopped: %+v", e)
	}
	if err := p.RemoveRun(within(t), "started", spec.Name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		t.Error(err)
	}
}

// kept is what a log has: package output's own form, without its times.
func kept(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}
