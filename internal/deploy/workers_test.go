package deploy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// slowNode tells of a worker's start and of its end when both are long over.
type slowNode struct {
	Platform
	began time.Time
}

func (n *slowNode) SetWorkers(context.Context, *servingv1.Service, []Worker) error { return nil }

func (n *slowNode) Instances(context.Context, string, bool) ([]Instance, error) {
	started := n.began.Truncate(time.Second)
	w := Instance{Type: "job", Name: "job.1", Revision: "a-v1", State: InstanceStarting}
	switch told := time.Since(n.began); {
	case told > 6*time.Second:
		w.State, w.Ended, w.EndedAt = InstanceRestarting, &StartError{Reason: Exited, ExitCode: 3}, started.Add(time.Second)
	case told > 4*time.Second:
		w.State, w.Since = InstanceUp, started
	}
	return []Instance{w}, nil
}

// TestRunWorkers_SlowNode: a worker that failed at once is not taken for one that is up because its node is late.
func TestRunWorkers_SlowNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &servingv1.Service{}
		svc.Name, svc.Spec.Template.Name = "a", "a-v1"
		workers := []Worker{{Type: "job", Instances: 1}}
		SetWorkers(svc, workers)
		var failed *workerError
		if _, err := runWorkers(t.Context(), &slowNode{began: time.Now()}, svc, workers); !errors.As(err, &failed) || failed.ended.ExitCode != 3 {
			t.Errorf("%v, want status 3", err)
		}
	})
}
