package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

func (s *suite) restart(t *testing.T) {
	s.mustRoll(t, stays(s.service("restart", "v1")))
	s.mustRoll(t, stays(s.service("restart", "v2")))
	if err := s.env.Platform.Apply(within(t), traffic(stays(s.service("restart", "v2")), "restart-v2 100", "restart-v1 0 older")); err != nil {
		t.Fatal(err)
	}
	_, before, err := s.get(within(t), "restart", "/id")
	if err != nil {
		t.Fatal(err)
	}
	_, older, err := s.get(within(t), "older-restart", "/id")
	if err != nil {
		t.Fatal(err)
	}
	had := s.describe(t, "restart")
	s.env.Platform = s.env.Reopen()
	s.want(t, "restart", "/id", before)
	s.want(t, "older-restart", "/id", older)
	if now := s.describe(t, "restart"); fmt.Sprint(now) != fmt.Sprint(had) {
		t.Errorf("before %+v, after %+v", had, now)
	}
	s.mustRoll(t, s.service("restart", "v3"))
	s.want(t, "restart", "/", "v3")
}

var errKilled = errors.New("the process was killed")

// mortal is a platform whose process is killed after some calls of Apply: later calls have no effect.
type mortal struct {
	deploy.Platform
	left atomic.Int64
}

func (m *mortal) alive() error {
	if m.left.Load() < 0 {
		return errKilled
	}
	return nil
}

func (m *mortal) Apply(ctx context.Context, svc *servingv1.Service) error {
	if m.left.Add(-1) < 0 {
		return errKilled
	}
	return m.Platform.Apply(ctx, svc)
}

func (m *mortal) Delete(ctx context.Context, service string) error {
	return errors.Join(m.alive(), errKilled) // a rollout deletes only in undo
}

func (m *mortal) DeleteRevision(ctx context.Context, service, revision string) error {
	return errKilled
}

// killed: gitd is killed between two steps of a rollout. The app keeps serving, and the next process can finish the rollout or undo it.
func (s *suite) killed(t *testing.T) {
	for _, c := range []struct {
		name  string
		after int64 // calls of Apply that happen: 1 for green at 0 %, 2 for the first step
	}{{"killed-a", 2}, {"killed-b", 1}} {
		s.mustRoll(t, s.service(c.name, "v1"))
		stop := s.load(c.name)
		m := &mortal{Platform: s.env.Platform}
		m.left.Store(c.after)
		var b bytes.Buffer
		_, err := deploy.Rollout(within(t), m, deploy.Plan{Service: s.service(c.name, "v2"), Log: app.NewLog(&b), Steps: []int64{50}, StepWait: 10 * time.Millisecond})
		if !errors.Is(err, errKilled) {
			t.Fatalf("%s: %v\n%s", c.name, err, b.String())
		}
		if now := s.describe(t, c.name); now[c.name+"-v2"].Percent != (c.after-1)*50 {
			t.Errorf("%s: at the kill: %+v", c.name, now)
		}
		s.env.Platform = s.env.Reopen()
		if ok, failed := stop(); ok == 0 || len(failed) > 0 {
			t.Errorf("%s: %d requests were answered, %d failed: %s", c.name, ok, len(failed), failed[:min(3, len(failed))])
		}
		if c.after == 2 { // the next process finishes the rollout
			s.mustRoll(t, s.service(c.name, "v2"))
			s.want(t, c.name, "/", "v2")
			continue
		}
		// The next process undoes it.
		if err := s.env.Platform.Apply(within(t), traffic(s.service(c.name, "v1"), c.name+"-v1 100")); err != nil {
			t.Fatal(err)
		}
		if err := s.env.Platform.DeleteRevision(within(t), c.name, c.name+"-v2"); err != nil {
			t.Fatal(err)
		}
		s.want(t, c.name, "/", "v1")
		if left := s.describe(t, c.name); len(left) != 1 || left[c.name+"-v1"].Percent != 100 {
			t.Errorf("%s: left %+v", c.name, left)
		}
	}
}
