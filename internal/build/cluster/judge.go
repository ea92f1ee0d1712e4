package cluster

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/kube"
	"github.com/gitd-io/gitd/internal/pattern"
)

// judge reads out of a Pod's state why its build cannot go on; nil as long as it can. It does not look at what a container itself says.
type judge struct {
	limits   build.Limits
	schedule time.Duration // how long a Pod may wait for a node
	pull     time.Duration // how long pulling an image may fail for a reason that may pass
	note     func(format string, args ...any)

	waiting, failing time.Time // since when
	noted            string
}

const pushAgain = "push again"

func (j *judge) verdict(p *corev1.Pod, gone bool, now time.Time) error {
	if p == nil {
		if gone {
			return removed()
		}
		return nil
	}
	if err := j.ended(p); err != nil {
		return err
	}
	if gone {
		return j.gone(p)
	}
	if p.DeletionTimestamp != nil {
		return j.gone(p)
	}
	if err := j.unscheduled(p, now); err != nil {
		return err
	}
	return j.stuck(p, now)
}

// ended is about Pods that the cluster has ended as a whole.
func (j *judge) ended(p *corev1.Pod) error {
	if p.Status.Phase != corev1.PodFailed {
		return nil
	}
	message := lifecycle.Clip(p.Status.Message)
	switch p.Status.Reason {
	case "":
		return nil // a container failed
	case "Evicted":
		if ownDisk.MatchString(p.Status.Message) {
			return diskExceeded(j.limits)
		}
		return app.Errorf(app.CodeUnavailable, "push again; where it happens again, ask the operator to make room on the nodes",
			"the node %s put the build out: %s", p.Spec.NodeName, message)
	case "DeadlineExceeded":
		return app.Errorf(app.CodeLimitExceeded, "make the build faster, or ask the operator for a higher time limit (gitd serve --build-time)",
			"the build was stopped at its time limit of %s", j.limits.Time)
	case "NodeLost", "NodeAffinity", "NodeShutdown", "Terminated", "Shutdown":
		return lost(p)
	}
	return app.Errorf(app.CodeUnavailable, "push again; where it happens again, ask the operator to look at the node",
		"the node %s ended the build: %s", p.Spec.NodeName, lifecycle.Clip(strings.TrimSpace(p.Status.Reason+" "+p.Status.Message)))
}

// ownDisk is what the kubelet says when a Pod went over a limit of its own, and not the node's disk run full.
var ownDisk = pattern.New(`(?i)exceeds the (total )?limit|exceeded its local ephemeral storage limit`)

func diskExceeded(limits build.Limits) error {
	return app.Errorf(app.CodeLimitExceeded, "have the build write less, or ask the operator for a higher disk limit (gitd serve --build-disk)",
		"build stopped at its disk limit of %s for source, layers and cache together", app.Size(limits.Disk))
}

func removed() error {
	return app.Errorf(app.CodeUnavailable, pushAgain, "the build's Pod was removed from outside gitd")
}

func lost(p *corev1.Pod) error {
	return app.Errorf(app.CodeUnavailable, pushAgain, "the node %s was lost during the build", cmp.Or(p.Spec.NodeName, "of the build"))
}

// gone is about Pods that something other than gitd removes.
func (j *judge) gone(p *corev1.Pod) error {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.DisruptionTarget || c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Reason {
		case "DeletionByTaintManager", "DeletionByPodGC":
			return lost(p)
		case "PreemptionByScheduler":
			return app.Errorf(app.CodeUnavailable, "push again, or ask the operator for more room on the cluster", "the build had to make room on the node %s for a Pod of higher priority", p.Spec.NodeName)
		case "EvictionByEvictionAPI":
			return app.Errorf(app.CodeUnavailable, pushAgain, "the node %s is being emptied, and the build with it", p.Spec.NodeName)
		}
	}
	if p.Status.Reason == "NodeLost" {
		return lost(p)
	}
	return removed()
}

// unscheduled is about Pods that find no node.
func (j *judge) unscheduled(p *corev1.Pod, now time.Time) error {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse {
			continue
		}
		if j.waiting.IsZero() {
			j.waiting = now
		}
		why := lifecycle.Clip(c.Message)
		if why != "" {
			j.say("waiting for a node (at most %s): %s", j.schedule, why)
		}
		if now.Sub(j.waiting) > j.schedule {
			return app.Errorf(app.CodeUnavailable, "push again when other builds are done, or ask the operator for more room on the cluster",
				"no node took the build within %s: %s", j.schedule, cmp.Or(why, "the scheduler does not say why"))
		}
		return nil
	}
	j.waiting = time.Time{}
	return nil
}

// stuck is about containers that cannot start.
func (j *judge) stuck(p *corev1.Pod, now time.Time) error {
	for _, name := range []string{wire.Prepare, wire.Build, wire.Export} {
		s := state(p, name)
		if s == nil || s.State.Waiting == nil {
			continue
		}
		message := s.State.Waiting.Message
		switch reason := s.State.Waiting.Reason; reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed":
			if j.failing.IsZero() {
				j.failing = now
			}
			kind, why := kube.ExplainPull(message)
			why = lifecycle.Clip(why)
			if why != "" {
				j.say("the node %s cannot pull the builder image yet: %s", p.Spec.NodeName, why)
			}
			if kind.Lasts() || now.Sub(j.failing) > j.pull {
				return app.Errorf(app.CodeUnavailable, "ask the operator: the nodes must be able to pull "+s.Image,
					"the node %s cannot pull the builder image: %s", p.Spec.NodeName, cmp.Or(why, reason))
			}
			return nil
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun":
			return app.Errorf(app.CodeUnavailable, "ask the operator to look at the node and the builder image",
				"the node %s cannot start the build: %s", p.Spec.NodeName, lifecycle.Clip(cmp.Or(message, reason)))
		}
	}
	j.failing = time.Time{}
	return nil
}

func (j *judge) say(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); s != j.noted {
		j.noted = s
		j.note("%s", s)
	}
}
